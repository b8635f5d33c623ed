"""Settings are strict: whatever is wrong is named, with what is allowed, before data is touched."""

import json
import re
from pathlib import Path

import pytest

from conf.errors import ConfigurationError
from conf.loading import shipped_names
from conf.settings import Horizon, Settings, as_environment, load_settings, without_secret


@pytest.fixture
def written(tmp_path: Path):
    def write(text: str | bytes) -> str:
        path = tmp_path / "mine.yml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return str(path)

    return write


def test_every_shipped_environment_loads() -> None:
    assert {"base", "local", "demo", "databricks"} <= set(shipped_names())
    for name in shipped_names():
        assert load_settings(name).snapshots.horizon_days == 30


def test_later_layers_win_and_leave_the_rest(written) -> None:
    mine = load_settings(written("snapshots: {count: 4}\n"), ["snapshots.step_days=3"])
    base = load_settings("base")
    assert (mine.snapshots.count, mine.snapshots.step_days) == (4, 3)
    assert mine.snapshots.min_history_days == base.snapshots.min_history_days
    assert mine.training == base.training


def test_a_file_may_lie_over_a_shipped_environment(written) -> None:
    local, mine = load_settings("local"), written("snapshots: {count: 4}\n")
    both = load_settings(f"local, {mine}")
    assert both.snapshots.count == 4
    assert both.spark == local.spark
    assert both.training == local.training
    assert load_settings(f"{mine},base") == load_settings(mine)


def test_an_empty_environment_is_the_base(written) -> None:
    assert load_settings(written("")) == load_settings("base")


def test_nothing_changes_after_loading() -> None:
    settings = load_settings("base")
    with pytest.raises(ValueError, match="frozen"):
        settings.snapshots.count = 1


@pytest.mark.parametrize(
    ("override", "reads", "value"),
    [
        ("features.windows=[7,14]", lambda s: s.features.windows, (7, 14)),
        ("ingest.last_day=2011-12-09", lambda s: str(s.ingest.last_day), "2011-12-09"),
        ("ingest.last_day=null", lambda s: s.ingest.last_day, None),
        ("lake.path=a=b", lambda s: s.lake.path, "a=b"),
        ("training.models.gbt=null", lambda s: "gbt" in s.training.models, False),
        ("spark.config.spark.sql.shuffle.partitions=3", lambda s: s.spark.config, {"3"}),
        ("spark.config={spark.sql.shuffle.partitions: 3}", lambda s: s.spark.config, {"3"}),
    ],
)
def test_set_has_the_last_word(override: str, reads, value: object) -> None:
    read = reads(load_settings("local", [override]))
    if isinstance(read, dict):
        read = {read["spark.sql.shuffle.partitions"]}
    assert read == value


def test_a_window_of_ones_own_feature_may_be_a_number_of_days(written) -> None:
    text = "features: {custom: [{name: a, description: b, sql: c, windows: [30, 7d, lifetime]}]}"
    assert load_settings(written(text)).features.custom[0].windows == ("30d", "7d", "lifetime")


def test_spark_options_are_text_however_yaml_reads_them(written) -> None:
    text = "spark: {config: {a.b: true, a.c: 0.5, a.d: 8, a.e: 4g}}\n"
    mine, base = load_settings(written(text)).spark.config, load_settings("base").spark.config
    assert mine == {
        **base,
        "a.b": "true",
        "a.c": "0.5",
        "a.d": "8",
        "a.e": "4g",
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("snapshots: {horizon: 3}", "snapshots.horizon: unknown key; did you mean horizon_days?"),
        ("trainng: {folds: 3}", "trainng: unknown key; did you mean training?"),
        ("features: {zzz: 3}", "features.zzz: unknown key; known here: windows, country"),
        (
            "features: {custom: [{nam: tea}]}",
            "features.custom.0.nam: unknown key; did you mean name?",
        ),
        (
            "features: {custom: [{name: tea, sqll: count(1)}]}",
            "features.custom.tea.sqll: unknown key; did you mean sql?",
        ),
        ("hello", "hello: unknown key; known here: spark, lake, ingest"),
        ("features: 3", "features: Input should be a valid dictionary"),
        ("features: null", "features: Input should be a valid dictionary"),
        ("snapshots: {count: many}", "snapshots.count: Input should be a valid integer"),
        ("snapshots: {count: 1.5}", "snapshots.count: Input should be a valid integer"),
        ("snapshots: {horizon_days: 0}", "greater than or equal to 1 (got 0)"),
        ("features: {windows: [30, 7]}", "different whole days from 1 to 99999, in ascending"),
        ("features: {windows: []}", "different whole days from 1 to 99999, in ascending order"),
        ("features: {windows: [7, 800000]}", "different whole days from 1 to 99999"),
        (
            "training: {seed: -1}",
            "training.seed: Input should be greater than or equal to 0 (got -1)",
        ),
        ("features: {country: NO}", "features.country: YAML reads this as False; put it in quotes"),
        ("features: {country: XX}", "not a country of the package holidays"),
        ("ingest: {first_day: 2011-13-01}", "ingest.first_day: Input should be a valid date"),
        ("ingest: {max_refused_share: 2}", "less than or equal to 1 (got 2)"),
        ("spark: {config: {a: [1]}}", "spark.config.a: give text, a number, true or false"),
        (
            "training: {models: {gbt: null, random_forest: null, logistic_regression: null, "
            "lightgbm: null, xgboost: null, catboost: null}}",
            "name",
        ),
        ("training: {metric: auc}", "'roc_auc', 'pr_auc', 'log_loss' or 'brier' (got 'auc')"),
        ("scoring: {high_deciles: 6}", "medium_deciles must be above high_deciles"),
        ("lake: {path: '${oc.env:REPURCHASE_NOT_SET}'}", "lake.path: interpolation"),
        ("a: [1", "not valid YAML"),
        ("\ta: 1", "not valid YAML"),
        ("a: 1\na: 2", "duplicate key a"),
        ("- a\n- b", "a list where a section with keys is wanted"),
        ("features: [7]", "a list where a section with keys is wanted"),
        (b"\xff\xfea\x00", "not a YAML file in UTF-8"),
    ],
)
def test_a_wrong_file_says_where_and_what(written, text: str | bytes, says: str) -> None:
    path = written(text)
    with pytest.raises(ConfigurationError, match=re.escape(says)) as problem:
        load_settings(path)
    assert str(problem.value).startswith(path)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("snapshots.horizon", "write it as section.key=value"),
        ("=3", "write it as section.key=value"),
        ("snapshots.horizons_days=3", "snapshots.horizons_days: unknown key; did you mean"),
        ("snapshots.count=abc", "snapshots.count: Input should be a valid integer"),
        ("features.windows=7", "features.windows: Input should be a valid tuple"),
        ("features.windows=[7,", "--set features.windows=[7,:"),
        ("features=[7]", "a list where a section with keys is wanted"),
        ("..=3", "unknown key"),
    ],
)
def test_a_wrong_set_is_refused(override: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(says)):
        load_settings("local", [override])


def test_all_that_is_wrong_is_said_at_once(written) -> None:
    with pytest.raises(ConfigurationError) as problem:
        load_settings(written("snapshots: {count: 0, step: 3}\nfeatures: {windows: [0]}\n"))
    assert len(str(problem.value).split("\n")) == 1 + 3


@pytest.mark.parametrize("name", ["nowhere", "nowhere.yml", "conf/nowhere.yml", "../local"])
def test_a_missing_environment_names_those_that_exist(name: str) -> None:
    with pytest.raises(ConfigurationError, match="base, connect, databricks, demo, local"):
        load_settings(name)


def test_a_shipped_file_is_found_by_name_and_by_path_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings("conf/demo.yml") == load_settings("demo")


def test_the_settings_of_a_run_can_be_kept_and_read_again() -> None:
    settings = load_settings("demo")
    assert Settings.model_validate_json(settings.model_dump_json()) == settings


@pytest.mark.parametrize(("hours", "days"), [(1, 1), (23, 1), (24, 2), (36, 2), (8736, 365)])
def test_a_horizon_in_hours_has_the_days_that_it_can_reach_into(hours: int, days: int) -> None:
    wanted = load_settings("base", [f"snapshots.horizon_hours={hours}"]).snapshots
    assert (wanted.horizon_days, wanted.horizon) == (days, Horizon(0, hours))
    assert wanted.horizon.where == f"horizon_days = 0 AND horizon_hours = {hours}"


def test_a_horizon_in_days_is_keyed_by_them_alone() -> None:
    wanted = load_settings("base").snapshots
    assert (wanted.horizon, wanted.horizon.where) == (Horizon(30), "horizon_days = 30")


@pytest.mark.parametrize("hours", ["'6'", "6.0", "${oc.decode:'6'}"])
def test_hours_may_be_written_in_any_way(hours: str) -> None:
    wanted = load_settings("base", [f"snapshots.horizon_hours={hours}"]).snapshots
    assert (wanted.horizon_days, wanted.horizon) == (1, Horizon(0, 6))


@pytest.mark.parametrize("hours", ["0", "8737", "1.5", "many", "true"])
def test_hours_are_whole_and_of_less_than_a_year(hours: str) -> None:
    with pytest.raises(ConfigurationError, match=r"snapshots\.horizon_hours"):
        load_settings("base", [f"snapshots.horizon_hours={hours}"])


def test_the_settings_of_a_run_can_be_its_environment_again(tmp_path: Path) -> None:
    of_run = load_settings("demo", ["training.models.gbt=null", "training.models.catboost=null"])
    assert "gbt" not in of_run.training.models
    (tmp_path / "again.yml").write_text(as_environment(of_run.model_dump_json()))
    assert load_settings(str(tmp_path / "again.yml")) == of_run


def test_what_is_kept_of_a_run_has_no_secret() -> None:
    secrets = {
        "spark.hadoop.fs.s3a.secret.key": "hidden",
        "spark.hadoop.fs.azure.account.key.shop": "hidden",
        "spark.hadoop.fs.s3a.access.key": "hidden",
        "spark.jdbc.password": "hidden",
        "spark.hadoop.fs.s3a.encryption.key": "hidden",
        "spark.hadoop.fs.gs.auth.service.account.private.key": "hidden",
    }
    given = [f"spark.config.{name}={value}" for name, value in secrets.items()]
    given += [
        "spark.remote=sc://cluster:443/;token=hidden",
        "tracking.uri=postgresql://owner:hidden@database/mlflow",
    ]
    of_run = load_settings("demo", given)
    assert set(secrets) <= set(of_run.spark.config)
    kept = of_run.without_secrets()
    assert "hidden" not in kept.model_dump_json()
    shown = ["spark.remote=sc://cluster:443/", "tracking.uri=postgresql://database/mlflow"]
    assert kept == load_settings("demo", shown)
    assert not any("hidden" in without_secret(override) for override in given)


def test_settings_of_another_release_are_named() -> None:
    of_run = load_settings("demo").model_dump(mode="json")
    of_run["training"]["forests"] = 3
    with pytest.raises(ConfigurationError, match=r"that run: .*\n.*training\.forests"):
        as_environment(json.dumps(of_run))
