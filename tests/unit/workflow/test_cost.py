"""The cost of a run: estimates against hand-computed ones."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from thorax import archives
from thorax.cli import main
from thorax.config import Config, parse
from thorax.errors import ThoraxError
from thorax.resources import resource
from thorax.storage import schemas, store
from thorax.workflow import cost
from thorax.workflow.cost import Counts, Priced
from thorax.workflow.jobs import Dag, Job, load

ROOT = Path(__file__).parents[3]


def job(rule: str, name: str, inputs: Sequence[str] = (), **wildcards: str) -> Job:
    """A job that makes one file of its name."""
    return Job(rule, {"name": name, **wildcards}, tuple(inputs), (name,), {}, "", "", 1, {}, "")


@st.composite
def priced_jobs(draw) -> list[Priced]:
    found = []
    for number in range(draw(st.integers(0, 12))):
        before = draw(st.sets(st.integers(0, number - 1), max_size=3)) if number else set()
        work = {"seconds": float(draw(st.integers(0, 50))), "threads": draw(st.integers(1, 4)), "gpu": draw(st.booleans())}
        found.append(Priced(job("train" if work["gpu"] else "ingest", str(number), tuple(map(str, before))), **work))
    return found


def test_hours_are_the_critical_path_or_the_work_per_gpu():
    """Two trainings after one ingest: 1 h on 4 of 8 cores, then 3 h and 2 h on a GPU, then a prediction of the first."""
    hour = 3600.0
    jobs = [
        Priced(job("ingest", "images"), hour, threads=4),
        Priced(job("images", "crops", ["images"])),
        Priced(job("train", "long", ["crops"]), 3 * hour, gpu=True, state=30.0),
        Priced(job("train", "short", ["crops"]), 2 * hour, gpu=True, state=20.0),
        Priced(job("predict", "scores", ["long"]), 0.5 * hour, gpu=True),
    ]
    found = cost.summarise(jobs, cores_per_gpu=8)
    assert [step["job"] for step in found["critical_path"]] == ["ingest-images", "train-long", "predict-scores"]
    assert found["critical_hours"] == 4.5
    assert found["phases"]["all"] == {"jobs": 5, "gpu_hours": 5.5, "core_hours": 4.0}
    assert found["gpus"]["1"] == {"hours": 5.5 + 4 / 8, "work_bytes": 30.0}
    assert found["gpus"]["8"] == {"hours": 4.5, "work_bytes": 50.0}
    left = cost.summarise(jobs[3:], cores_per_gpu=8)  # what the others made is there
    assert left["gpus"]["8"]["hours"] == 2


@given(priced_jobs())
@settings(max_examples=100, deadline=None)
def test_no_chain_takes_longer_than_the_critical_path_and_more_gpus_are_never_slower(jobs):
    found = cost.summarise(jobs, 4)
    until: dict[str, float] = {}
    for priced in jobs:
        (made,) = priced.job.outputs
        until[made] = priced.seconds + max((until[path] for path in priced.job.inputs), default=0.0)
    assert found["critical_hours"] * 3600 == pytest.approx(max(until.values(), default=0.0))
    hours = [found["gpus"][str(gpus)]["hours"] for gpus in cost.GPUS]
    assert hours == sorted(hours, reverse=True)
    assert hours[-1] >= found["critical_hours"]


def plan(*arguments: str) -> Dag:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return load(["--cores", "8", *arguments])


@pytest.fixture(scope="module")
def paper() -> Dag:
    """The two large experiments of Liz et al. 2022."""
    return plan("--config", "run=[liz2022-specific,liz2022-general]")


@pytest.fixture(scope="module")
def everything() -> Dag:
    """All experiments of config.yaml."""
    return plan()


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """A folder without results and archives."""
    monkeypatch.chdir(tmp_path)


def counts(dag: Dag, *changes: tuple[Any, ...]) -> Counts:
    """The counts behind a DAG, with some keys of its configuration changed: (*keys, value)."""
    changed = json.loads(json.dumps(dag.settings))
    for *path, key, value in changes:
        block = changed
        for name in path:
            block = block.setdefault(name, {})
        block[key] = value
    return Counts(parse(Config, changed, "config.yaml"))


def prices(dag: Dag, *changes: tuple[Any, ...], measured: dict[str, Any] | None = None) -> dict[str, Priced]:
    """Every job by its name, priced at round rates."""
    found = cost.price(dag.jobs, counts(dag, *changes), measured or rates(), 8)
    return {priced.job.name: priced for priced in found}


def rates() -> dict[str, Any]:
    """Round numbers: the networks are equal."""
    network = {
        "device": "CPU",
        "size": 224,
        "train": 10.0,
        "predict": 40.0,
        "train_start": 100.0,
        "predict_start": 10.0,
        "bytes": 4_000_000,
    }
    names = json.loads(cost.RATES.read_text())["networks"]
    return {"machine": {"cpu": "abacus", "cores": "2"}, "ingest": 0.1, "networks": dict.fromkeys(names, network)}


SPECIFIC = ("experiments", "liz2022-specific")
XCEPTION = "liz2022-specific-Xception"


def test_a_training_that_starts_from_another_waits_for_it(empty, tmp_path):
    """The other one is trained too, though its experiment is not in the run."""
    settings_ = yaml.safe_load((ROOT / "tests/workflow/tiny/config.yaml").read_text())
    tiny = settings_["experiments"]["tiny"]
    adapted = {**tiny, "members": {"own": {"weights": {"experiment": "tiny", "member": "second"}}}, "ensembles": {}}
    settings_ |= {"experiments": {"tiny": tiny, "adapted": adapted}, "run": ["adapted"]}
    Path("config.yaml").write_text(yaml.safe_dump(settings_, sort_keys=False))
    dag = load(["--snakefile", str(ROOT / "Snakefile"), "--configfile", "config.yaml", "--cores", "2"])
    trainings = {job.name: job for job in dag.jobs if job.rule == "train"}
    assert list(trainings) == ["train-tiny-second", "train-adapted-own"]
    assert {"results/models/tiny/second.keras", "results/labels/tiny-specific.parquet"} <= set(
        trainings["train-adapted-own"].inputs
    )
    path = cost.summarise(cost.price(dag.jobs, counts(dag), rates(), 8), 8)["critical_path"]
    assert [step["job"] for step in path if step["job"].startswith("train")] == list(trainings)


def test_a_training_is_its_epochs_at_the_measured_rate(paper, empty):
    found = prices(paper)
    training = found[f"train-{XCEPTION}"]
    assert training.seconds == pytest.approx(100 + 350 * (0.7 * 85_367 / 10 + 0.1 * 85_367 / 40))
    assert (training.gpu, training.bytes, training.state) == (True, {"models": 4_000_000}, 12 * 4_000_000)
    assert found[f"predict-{XCEPTION}"].seconds == pytest.approx(10 + 0.3 * 85_367 / 40)


def test_ingest_is_the_pixels_of_a_shard_at_the_measured_rate(paper, empty):
    ingest = prices(paper)["ingest-padchest-3"]
    assert ingest.seconds * ingest.threads == pytest.approx(91_728 / 8 * 5.60 * 0.1)
    assert ingest.core_hours == pytest.approx(91_728 / 8 * 5.60 * 0.1 / 3600)
    assert not ingest.gpu


def test_time_grows_with_the_pixels_of_an_image(paper, empty):
    halved = [("image_sets", name, "size", 112) for name in ("224-lungs", "224-lateral")]
    large, small = (prices(paper, *changes)[f"train-{XCEPTION}"] for changes in ([], halved))
    assert large.seconds - 100 == pytest.approx(4 * (small.seconds - 100))


def test_predicting_another_archive_is_predicting_its_test_images(everything, empty):
    found = prices(everything)
    asked = found["predict-elsewhere-cross-padchest-DenseNet121-cross-nih"]
    assert asked.seconds == pytest.approx(10 + 25_596 / 40)  # the archive's test list, at 40 images a second
    assert "predict-elsewhere-cross-nih-DenseNet121-cross-nih" not in found
    assert sum(name.startswith("predict-elsewhere-") for name in found) == 6


def test_test_images_after_every_epoch_are_predicted_as_often(paper, empty):
    training = prices(paper, (*SPECIFIC, "training", "test_every_epoch", [0.4, 0.5]))[f"train-{XCEPTION}"]
    assert training.seconds == pytest.approx(100 + 350 * (0.7 * 85_367 / 10 + 0.3 * 85_367 / 40))


def test_arrays_are_as_long_as_their_form_says(paper, empty):
    found = cost.summarise(list(prices(paper).values()), 8)["result_bytes"]
    assert found["ingested"] == pytest.approx(91_728 * 512 * 512)
    assert found["images"] == pytest.approx(91_728 * 224 * 224)
    assert found["lungs"] == pytest.approx(91_728 * 256 * 256)
    assert found["models"] == 10 * 4_000_000


def test_stored_intensities_take_two_bytes(paper, empty):
    crops = [job for job in paper.jobs if job.rule == "images" and job.wildcards["image_set"] == "224-lungs"]
    known = counts(paper)
    stored = known.settings.image_sets["224-lungs"].model_copy(update={"intensity": "stored"})
    changed = counts(paper)
    changed.settings = known.settings.model_copy(update={"image_sets": {"224-lungs": stored}})
    one, two = (cost.summarise(cost.price(crops, found, rates(), 8), 8)["result_bytes"]["images"] for found in (known, changed))
    assert (one, two) == (pytest.approx(91_728 * 224 * 224), pytest.approx(2 * 91_728 * 224 * 224))


def test_the_phases_sum_up_and_what_is_left_is_a_part(paper, empty):
    found = list(prices(paper).values())
    whole = cost.summarise(found, 8)
    assert whole["phases"]["all"]["jobs"] == len(paper.jobs)
    for unit in ("jobs", "gpu_hours", "core_hours"):
        *parts, everything = [phase[unit] for phase in whole["phases"].values()]
        assert sum(parts) == pytest.approx(everything)
    assert whole["gpus"]["1"]["hours"] >= whole["phases"]["all"]["gpu_hours"]
    assert whole["gpus"]["8"]["work_bytes"] == 8 * 12 * 4_000_000  # ten trainings, eight at once
    assert whole["gpus"]["64"]["work_bytes"] == 10 * 12 * 4_000_000
    half = cost.summarise(found[: len(found) // 2], 8)
    assert half["phases"]["all"]["gpu_hours"] <= whole["phases"]["all"]["gpu_hours"]
    nothing = cost.summarise([], 8)
    assert (nothing["phases"]["all"]["jobs"], nothing["gpus"]["1"]["hours"], nothing["critical_path"]) == (0, 0, [])


def test_every_timed_rule_is_a_rule_of_the_workflow():
    rules = {
        word
        for path in (ROOT / "workflow/rules").glob("*.smk")
        for line in path.read_text().splitlines()
        for word in line.rstrip(":").split()[1:]
        if line.startswith(("rule ", "use rule "))
    }
    assert rules >= {*cost.PHASES, "lungs", "images", "labels", "split"}


def test_the_committed_rates_know_the_networks_of_all_papers(everything, empty):
    measured = cost.read_rates(cost.RATES)
    assert (
        cost.summarise(list(prices(everything, measured=measured).values()), 8)["phases"]["all"]["gpu_hours"] > 10_000
    )  # on a CPU


def test_archives_add_up_to_the_counts_that_papers_give():
    table = pd.read_csv(resource("archives.csv"))
    assert set(table["archive"]) == set(archives.ARCHIVES) - {"own"}
    images = table[table["view"] != "(labels)"].groupby("archive")["images"].sum()
    assert images.to_dict() == {"padchest": 160_861, "nih": 112_120, "chexpert": 223_414}


def case(name: str) -> dict[str, Any]:
    """A configuration among the workflow's tests."""
    return yaml.safe_load((ROOT / "tests/workflow" / name / "config.yaml").read_text())


def test_a_synthetic_archive_is_counted_from_its_settings(empty):
    """As in a finished run of the tiny configuration: 60 and 60 images in two shards, 83 with one of six classes."""
    known = Counts(parse(Config, case("tiny"), "config.yaml"))
    assert known.dataset("tiny").images == 120
    assert (known.label_set("tiny-specific").images, known.label_set("tiny-specific").classes) == (83, 6)
    assert sum(known.parts(known.settings.experiments["tiny"]).values()) == pytest.approx(83)


def test_synthetic_archives_of_every_form_are_counted(empty):
    phantom = {"patients": 60, "height": 128, "seed": 3}
    tiny = case("tiny")
    forms = {"nih": ["PA", "AP"], "chexpert": ["PA", "AP", "Lateral"]}
    for name, views in forms.items():
        tiny["datasets"][name] = {"archive": name, "root": f"data/{name}", "views": views, "phantom": phantom}
        tiny["label_sets"][name] = {"dataset": name, "views": views, "min_images": 5, "without_class": "keep"}
    known = Counts(parse(Config, tiny, "config.yaml"))
    assert known.dataset("nih").megapixels == pytest.approx(128 * 128 / 1e6)
    assert known.dataset("nih").images > 60
    assert 8 <= known.label_set("nih").classes <= 14
    assert known.label_set("chexpert").images == known.dataset("chexpert").images


def test_a_label_set_inside_a_general_one_has_its_images(paper, empty):
    """Counted from a catalog with its own classes; from published counts with at most all labels."""
    known = Counts(parse(Config, case("cascade"), "config.yaml"))
    assert (known.label_set("tiny-inside").images, known.label_set("tiny-inside").classes) == (99, 2)
    assert known.label_set("tiny-general").images == 99
    assert sum(known.parts(known.settings.experiments["inside"]).values()) == pytest.approx(99)
    mine = ("label_sets", "mine", {**paper.settings["label_sets"]["padchest-inside"]})
    found = counts(paper, mine).label_set("mine")
    assert (found.images, found.classes) == (90_687, 193)


def test_results_of_an_earlier_run_are_believed(paper, empty):
    ingested = {"image_id": ["a", "b", "c"], "ok": [True, True, False], "reason": [None, None, "missing"], "rows": [1000, 3000, 0],
                "columns": [1000, 1000, 0], "channels": 1, "bits": 8, "burned_in": False, "collimated": False, "low": 0,
                "high": 255, "shard": 0, "row": 0}  # fmt: skip
    store.write_table(pd.DataFrame(ingested), "results/ingested/padchest.parquet", schemas.INGESTED)
    labels = pd.DataFrame(
        {"image_id": ["a", "b", "c"], "patient_id": ["1", "2", "3"], "normal": [1, 0, 0], "nodule": [0, 1, 0]}
    )
    store.write_table(labels, "results/labels/padchest-specific.parquet", schemas.labels_schema(["normal", "nodule"]))
    ids = ["a", "b", "c", "x"]
    split = pd.DataFrame({"image_id": ids, "patient_id": ids, "split": ["train", "test", "left_out", "val"]})
    store.write_table(split, "results/splits/padchest-pa.parquet", schemas.SPLITS)
    known = counts(paper)
    assert (known.dataset("padchest").images, known.dataset("padchest").megapixels) == (2, 2.0)
    assert (known.label_set("padchest-specific").images, known.label_set("padchest-specific").classes) == (3, 2)
    assert known.parts(known.settings.experiments["liz2022-specific"]) == {"train": 1, "val": 0, "test": 1}


def test_an_archive_of_your_own_is_counted_from_its_metadata_or_refused(empty):
    own = {"archive": "own", "root": "mine", "views": ["frontal"]}
    labels = {"dataset": "mine", "views": ["frontal"]}
    study = {
        "datasets": {"mine": own},
        "label_sets": {"mine": labels},
        "splits": {},
        "image_sets": {},
        "experiments": {},
        "run": [],
    }
    settings = parse(Config, study, "config.yaml")
    with pytest.raises(ThoraxError, match=r"images of data set 'mine' is unknown: put its metadata into mine, or type"):
        Counts(settings).dataset("mine")
    Path("mine").mkdir()
    Path("mine/images.csv").write_text("path,patient_id,labels\na.png,1,nodule\nb.png,2,normal\n")
    known = Counts(settings)
    assert (known.dataset("mine").images, known.dataset("mine").megapixels) == (2, None)
    assert (known.label_set("mine").images, known.label_set("mine").classes) == (2, 2)
    (line, _) = cost.sizes([job("ingest", "a", dataset="mine"), job("labels", "b", label_set="mine")], known)
    assert line == "mine: 2 images (metadata; the time to ingest them is unknown and not counted)"


def test_the_official_test_list_of_nih_is_a_part_of_its_own_size(paper, empty):
    known = counts(paper)
    parts = known.parts(known.settings.experiments["beltran2022"])
    assert parts["test"] / sum(parts.values()) == pytest.approx(25_596 / 112_120)
    assert parts["train"] / parts["val"] == pytest.approx(7)


def test_radiologists_are_a_test_part_of_its_own_size_where_valid_csv_is_there(paper, empty, monkeypatch):
    monkeypatch.setattr(Counts, "_catalog", lambda self, name: None)  # the files below are empty
    split = paper.settings["experiments"]["saturi2025"]["split"]
    known = counts(paper, ("splits", split, "test_on", "radiologists"))
    experiment = known.settings.experiments["saturi2025"]
    images = known.label_set(experiment.label_set).images
    split = known.settings.splits[experiment.split]
    assert known.parts(experiment)["test"] == pytest.approx(split.test * images)
    root = Path(known.settings.datasets["chexpert"].root)
    root.mkdir(parents=True)
    for name in ("train.csv", "valid.csv"):
        (root / name).touch()
    parts = known.parts(experiment)
    assert parts["test"] == pytest.approx(234)
    assert parts["train"] / parts["val"] == pytest.approx(split.train / split.val)
    assert sum(parts.values()) == pytest.approx(images)


def test_a_label_set_that_no_paper_counts_has_at_most_all_images_of_its_views(paper, empty):
    found = counts(paper, ("label_sets", "mine", {"dataset": "padchest"})).label_set("mine")
    assert (found.images, found.classes) == (91_728, 193)
    assert found.source == "at most, from published counts"


def test_a_second_view_costs_a_second_backbone_and_its_images(everything, empty):
    found = prices(everything)
    alone, both = (found[f"train-padchest-{views}-EfficientNetB0"] for views in ("pa-alone", "two-views"))
    assert both.seconds - 100 == pytest.approx(2 * (alone.seconds - 100))
    assert both.state == 2 * alone.state
    assert both.bytes == {"models": 8_000_000}
    assert int(both.job.resources["mem_mb"]) == 2 * int(alone.job.resources["mem_mb"])
    ingested = cost.summarise(list(found.values()), 8)["result_bytes"]["ingested"]
    assert ingested == pytest.approx((91_728 + 49_579 + 112_120 + 223_414) * 512 * 512)
    assert "padchest-studies: 49,579 images, 193 classes (at most, from published counts)" in cost.sizes(
        everything.jobs, counts(everything)
    )


def test_an_unknown_network_is_named_with_the_command_that_measures_it(paper, empty):
    measured = rates()
    del measured["networks"]["Xception"]
    with pytest.raises(ThoraxError, match=r"no Xception: measure it with `python -m bench rates --networks Xception"):
        prices(paper, measured=measured)


def test_rates_that_are_something_else_are_one_sentence(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    for content in ('{"machine": 3}', "no JSON", '{"machine": {"cpu": "x"}, "ingest": 1, "networks": []}'):
        other = tmp_path / "other.json"
        other.write_text(content)
        assert main(["cost", "--rates", str(other)]) == 1
        assert capsys.readouterr().err == (
            f"thorax: {other} is not a file of rates: make one with `python -m bench rates --out {other}`.\n"
        )


def test_a_part_of_the_targets_is_refused(capsys):
    assert main(["cost", "--", "--cores", "8", "--until", "split"]) == 1
    text = "thorax: all jobs of the targets are meant here: name the files that you want instead of --until.\n"
    assert capsys.readouterr().err == text


def test_the_page_says_what_was_measured_and_json_has_the_same_figures(paper, capsys, monkeypatch, empty):
    monkeypatch.setattr(cost, "load", lambda arguments: {("--cores", "4"): paper}[tuple(arguments)])
    path = Path("rates.json")
    path.write_text(json.dumps(rates()))
    command = ["cost", "--rates", str(path), "--cores-per-gpu", "4"]
    run = ["--", "--cores", "4"]
    assert main([*command, "--json", *run]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert main([*command, *run]) == 0
    page = capsys.readouterr().out
    assert page.startswith("Rates: abacus, 2 cores, CPU.\nA GPU here is a machine like this")
    assert f"critical path, {figures['all']['critical_hours']:,.2f} hours" in page
    assert f"{figures['all']['phases']['training']['gpu_hours']:,.2f}" in page
    assert "GPUs (4 cores each)" in page
    assert page.rstrip().endswith(figures["not counted"])
    assert figures["all"]["phases"]["training"]["jobs"] == 10
    assert figures["left"]["phases"]["all"]["jobs"] <= figures["all"]["phases"]["all"]["jobs"]
