"""What differs between environments: settings, and how a log maps onto the contract."""
