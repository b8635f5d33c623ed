"""Features to calibrated probabilities: preparation, candidates, calibration, champion, scores."""
