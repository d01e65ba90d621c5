"""The cost of a run: schedules against hand-computed ones, and estimates against their parts."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from thorax import archives
from thorax.cli import main
from thorax.config import Phantom
from thorax.errors import ThoraxError
from thorax.phantom import shapes
from thorax.storage import schemas, store
from thorax.workflow import cost, schedule, sizes
from thorax.workflow.jobs import load
from thorax.workflow.schedule import Task

ROOT = Path(__file__).parents[3]


def order(begun: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(begun.items(), key=lambda item: (item[1], item[0]))


def test_two_trainings_share_one_gpu_and_have_one_each_of_two():
    tasks = [
        Task("images", 5, cores=4), Task("short", 10, gpus=1, cores=8, after=("images",)),
        Task("long", 30, gpus=1, cores=8, after=("images",)), Task("metrics", 2, after=("short", "long")),
    ]  # fmt: skip
    one, two = schedule.best(tasks, 1, 8), schedule.best(tasks, 2, 8)
    assert order(one) == [("images", 0), ("long", 5), ("short", 35), ("metrics", 45)]
    assert order(two) == [("images", 0), ("long", 5), ("short", 5), ("metrics", 35)]
    assert schedule.length(tasks, one) == 47
    assert schedule.length(tasks, two) == 37
    assert [task.name for task in schedule.critical_path(tasks)] == ["images", "long", "metrics"]


def test_cores_limit_jobs_without_a_gpu_and_a_small_one_fills_the_gap():
    tasks = [Task("a", 4, cores=6), Task("b", 3, cores=4), Task("c", 2, cores=2)]
    assert order(schedule.starts(tasks, 1, 8)) == [("a", 0), ("c", 0), ("b", 4)]
    assert schedule.length(tasks, schedule.starts(tasks, 1, 12)) == 4


def test_resume_states_are_summed_over_trainings_that_run_at_once():
    tasks = [Task("a", 4, gpus=1), Task("b", 4, gpus=1), Task("c", 2, gpus=1, after=("a",))]
    amounts = {"a": 10.0, "b": 20.0, "c": 25.0}
    assert schedule.most_at_once(tasks, schedule.best(tasks, 1, 8), amounts) == 25
    assert schedule.most_at_once(tasks, schedule.best(tasks, 2, 8), amounts) == 30  # c begins when a and b have ended


def test_nothing_to_do_takes_no_time():
    assert schedule.best([], 8, 8) == {}
    assert schedule.length([], {}) == 0
    assert schedule.critical_path([]) == []


@st.composite
def dags(draw) -> list[Task]:
    count = draw(st.integers(1, 12))
    tasks = []
    for number in range(count):
        before = draw(st.sets(st.integers(0, number - 1), max_size=3)) if number else set()
        gpus = draw(st.integers(0, 1))
        seconds, cores = draw(st.integers(0, 50)), draw(st.integers(1, 4))
        tasks.append(Task(str(number), float(seconds), gpus, cores, tuple(map(str, sorted(before)))))
    return tasks


@given(dags())
@settings(max_examples=200, deadline=None)
def test_a_schedule_keeps_its_promises(tasks):
    critical = sum(task.seconds for task in schedule.critical_path(tasks))
    before = None
    for gpus in (1, 2, 3, 8):
        begun = schedule.best(tasks, gpus, 4)
        took = schedule.length(tasks, begun)
        assert took >= critical
        assert before is None or took <= before  # more GPUs are never slower
        before = took
        for task in tasks:
            assert all(
                begun[name] + next(t.seconds for t in tasks if t.name == name) <= begun[task.name] for name in task.after
            )
        for moment in begun.values():
            running = [task for task in tasks if begun[task.name] <= moment < begun[task.name] + task.seconds]
            assert sum(task.gpus for task in running) <= gpus
            assert sum(task.cores for task in running) <= 4 * gpus
    assert schedule.length(tasks, schedule.best(tasks, 1, 4)) >= sum(task.seconds for task in tasks if task.gpus)
    assert schedule.length(tasks, schedule.best(tasks, len(tasks), 4)) == critical  # a machine for each job


@pytest.fixture(scope="module")
def paper():
    """The jobs of the two large experiments of Liz et al. 2022, in a folder without results."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return load(["--cores", "8", "--config", "run=[liz2022-specific,liz2022-general]"]).jobs


@pytest.fixture
def empty(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def rates() -> dict:
    """Round numbers: each job takes a second, and the networks are equal."""
    network = {
        "device": "CPU", "size": 224, "batch": 32, "train": 10.0, "predict": 40.0, "train_start": 100.0, "predict_start": 10.0,
        "parameters": 1_000_000, "classes": 35, "bytes": 4_000_000, "cells": 49, "megabytes": 4000.0,
    }  # fmt: skip
    names = ("DenseNet201", "EfficientNetB0", "InceptionV3", "InceptionResNetV2", "Xception")
    rule = {"seconds": [1.0, 0.0], "bytes": [1000.0, 0.0], "megabytes": 100.0}
    return {
        "machine": {"cpu": "abacus", "cores": "2"},
        "rules": dict.fromkeys(sizes.UNITS, rule),
        "networks": dict.fromkeys(names, network),
    }


def test_a_training_is_its_epochs_at_the_measured_rate(paper, empty):
    found = cost.estimate(paper, rates(), 8)
    training = next(priced for priced in found.jobs if priced.job.name == "train-liz2022-specific-Xception")
    assert training.seconds == pytest.approx(100 + 350 * (0.7 * 85_367 / 10 + 0.1 * 85_367 / 40))
    assert training.bytes["models"] == pytest.approx(4_000_000)
    assert training.state == 4 * 1_000_000 * 12
    assert training.megabytes == 4000
    prediction = next(priced for priced in found.jobs if priced.job.name == "predict-liz2022-specific-Xception")
    assert prediction.seconds == pytest.approx(10 + 0.3 * 85_367 / 40)


def test_asking_about_another_archive_is_asking_about_its_test_images(empty):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        jobs = load(["--cores", "8", "--config", "run=[cross-padchest,cross-nih,cross-chexpert]"]).jobs
    measured = rates()
    measured["networks"]["DenseNet121"] = measured["networks"]["Xception"]
    found = {priced.job.name: priced for priced in cost.estimate(jobs, measured, 8).jobs}
    asked = found["predict-elsewhere-cross-padchest-DenseNet121-cross-nih"]
    assert asked.seconds == pytest.approx(10 + 25_596 / 40)  # the archive's test list, at 40 images a second
    assert (asked.gpus, asked.bytes) == (1, {"predictions": 1000.0})
    assert "predict-elsewhere-cross-nih-DenseNet121-cross-nih" not in found
    assert sum(name.startswith("predict-elsewhere-") for name in found) == 6


def test_test_images_after_every_epoch_are_predicted_as_often(paper, empty):
    found = cost.estimate(without(paper, train={"test_every_epoch": [0.4, 0.5]}), rates(), 8)
    training = next(priced for priced in found.jobs if priced.job.name == "train-liz2022-specific-Xception")
    assert training.seconds == pytest.approx(100 + 350 * (0.7 * 85_367 / 10 + 0.3 * 85_367 / 40))


def test_before_a_split_is_made_nothing_is_drawn_down(paper, empty):
    note = "that splits draw images without a class down, before they are made"
    assert note not in cost.estimate(paper, rates(), 8).notes
    assert note in cost.estimate(without(paper, split={"draw_down": {"train": 1, "test": 1}}), rates(), 8).notes


def test_stored_intensities_take_two_bytes(paper):
    job = next(job for job in paper if job.rule == "images" and job.wildcards["image_set"] == "224-lungs")
    known = SimpleNamespace(archive=lambda name: SimpleNamespace(images=800), datasets={"padchest": SimpleNamespace(shards=8)})
    stored = replace(job, params={**job.params, "settings": '{"dataset": "padchest", "size": 224, "intensity": "stored"}'})
    assert sizes.array_length(known, job) == 100 * 224 * 224
    assert sizes.array_length(known, stored) == 2 * 100 * 224 * 224


def test_arrays_are_as_long_as_their_form_says(paper, empty):
    found = cost.summarise(cost.estimate(paper, rates(), 8).jobs, 8)["result_bytes"]
    assert found["ingested"] == pytest.approx(91_728 * 512 * 512, rel=1e-3)
    assert found["images"] == pytest.approx(91_728 * 224 * 224)
    assert found["lungs"] == pytest.approx(91_728 * 256 * 256, rel=1e-3)


def test_the_parts_sum_up_and_what_is_left_is_a_part(paper, empty):
    found = cost.estimate(paper, rates(), 8)
    whole = cost.summarise(found.jobs, 8)
    assert whole["jobs"] == len(paper) == sum(phase["jobs"] for phase in whole["phases"].values())
    for hours in ("gpu_hours", "core_hours"):
        assert whole[hours] == pytest.approx(sum(phase[hours] for phase in whole["phases"].values()))
    assert whole["gpus"]["1"]["hours"] >= whole["gpu_hours"]
    assert whole["gpus"]["64"]["hours"] >= whole["critical_hours"] - 1e-9
    assert whole["gpus"]["8"]["work_bytes"] == 8 * 4 * 1_000_000 * 12  # ten trainings, eight at once
    half = cost.summarise(found.jobs[: len(paper) // 2], 8)
    assert half["gpu_hours"] <= whole["gpu_hours"]
    nothing = cost.summarise([], 8)
    assert (nothing["jobs"], nothing["gpus"]["1"]["hours"], nothing["largest_job"]) == (0, 0, None)


def test_every_rule_of_the_workflow_has_a_unit_and_a_phase():
    rules = {line.split()[1].rstrip(":") for path in (ROOT / "workflow/rules").glob("*.smk")
             for line in path.read_text().splitlines() if line.startswith("rule ")}  # fmt: skip
    rules |= {line.split(" as ")[1].split()[0] for path in (ROOT / "workflow/rules").glob("*.smk")
              for line in path.read_text().splitlines() if line.startswith("use rule ")}  # fmt: skip
    rules -= {"audit"}  # collects only
    assert rules == {*sizes.UNITS, *sizes.FETCHES}
    assert sorted(rules) == sorted(rule for phase in cost.PHASES.values() for rule in phase)


def test_the_committed_rates_know_every_rule_and_the_networks_of_the_paper(paper, empty):
    measured = cost.read_rates(cost.RATES)
    assert set(measured["rules"]) == set(sizes.UNITS)
    for rule in measured["rules"].values():
        assert min(*rule["seconds"], *rule["bytes"]) >= 0
        assert rule["seconds"][0] + rule["seconds"][1] > 0
    assert cost.summarise(cost.estimate(paper, measured, 8).jobs, 8)["gpu_hours"] > 100  # ten trainings on a CPU


def test_archives_add_up_to_the_counts_that_papers_give():
    table = pd.read_csv(sizes.ARCHIVES)
    assert set(table["archive"]) == set(archives.ARCHIVES) - {"own"}
    images = table[table["view"] != "(labels)"].groupby("archive")["images"].sum()
    assert images.to_dict() == {"padchest": 160_861, "nih": 112_120, "chexpert": 223_414}


def test_a_synthetic_archive_is_counted_from_its_settings(empty):
    """As in a finished run of the tiny configuration: 60 and 60 images in two shards, 83 with one of six classes."""
    tiny = str(ROOT / "tests/workflow/tiny/config.yaml")
    known = sizes.Sizes(load(["--snakefile", str(ROOT / "Snakefile"), "--configfile", tiny, "--cores", "2"]).jobs)
    assert known.archive("tiny").images == 120
    assert (known.label_set("tiny-specific").images, known.label_set("tiny-specific").classes) == (83, 6)
    assert sum(known.parts(known.experiments["tiny"]).values()) == pytest.approx(83)


def test_a_label_set_inside_a_general_one_has_its_images(paper, empty):
    """Counted from a catalog with its own classes; from published counts with at most all labels."""
    case = str(ROOT / "tests/workflow/cascade/config.yaml")
    jobs = load(["--snakefile", str(ROOT / "Snakefile"), "--configfile", case, "--cores", "2"]).jobs
    known = sizes.Sizes(jobs)
    assert (known.label_set("tiny-inside").images, known.label_set("tiny-inside").classes) == (99, 2)
    assert known.label_set("tiny-general").images == 99
    assert sum(known.parts(known.experiments["inside"]).values()) == pytest.approx(99)
    measured = {**rates(), "networks": {"cnn": rates()["networks"]["Xception"]}}
    assert "skip images without a known label" in " ".join(cost.estimate(jobs, measured, 8).notes)
    metrics = next(job for job in jobs if job.rule == "cascade_metrics")
    assert known.work(metrics) == 2 * known.label_set("tiny-specific").images * known.label_set("tiny-specific").classes
    specific = next(job for job in paper if job.rule == "labels" and job.wildcards["label_set"] == "padchest-specific")
    mine = json.dumps({**json.loads(specific.params["settings"]), "inside": "padchest-general"})
    inside = replace(specific, wildcards={"label_set": "mine"}, params={**specific.params, "settings": mine})
    known = sizes.Sizes([*paper, inside])
    assert (known.label_set("mine").images, known.label_set("mine").classes) == (90_687, 193)


def test_results_of_an_earlier_run_are_believed(paper, empty):
    ingested = {"image_id": ["a", "b", "c"], "ok": [True, True, False], "reason": [None, None, "missing"], "rows": [1000, 3000, 0],
                "columns": [1000, 1000, 0], "channels": 1, "bits": 8, "low": 0, "high": 255, "shard": 0, "row": 0}  # fmt: skip
    store.write_table(pd.DataFrame(ingested), "results/ingested/padchest.parquet", schemas.INGESTED)
    labels = pd.DataFrame(
        {"image_id": ["a", "b", "c"], "patient_id": ["1", "2", "3"], "normal": [1, 0, 0], "nodule": [0, 1, 0]}
    )
    store.write_table(labels, "results/labels/padchest-specific.parquet", schemas.labels_schema(["normal", "nodule"]))
    ids = ["a", "b", "c", "x"]
    split = pd.DataFrame({"image_id": ids, "patient_id": ids, "split": ["train", "test", "left_out", "val"]})
    store.write_table(split, "results/splits/padchest-pa.parquet", schemas.SPLITS)
    known = sizes.Sizes(paper)
    assert (known.archive("padchest").images, known.archive("padchest").megapixels) == (2, 2.0)
    assert (known.label_set("padchest-specific").images, known.label_set("padchest-specific").classes) == (3, 2)
    assert known.parts(known.experiments["liz2022-specific"]) == {"train": 1, "test": 1}


def without(jobs, **changes):
    """The jobs with other settings in those of one rule."""
    rule, new = next(iter(changes.items()))
    return [replace(job, params={**job.params, "settings": json.dumps({**json.loads(job.params["settings"]), **new})})
            if job.rule == rule else job for job in jobs]  # fmt: skip


def test_an_archive_of_ones_own_is_counted_from_its_metadata_or_refused(paper, empty):
    own = without(paper, ingest={"archive": "own", "root": "mine"})
    with pytest.raises(ThoraxError, match=r"how many images data set 'padchest' has: put its metadata into mine, or type"):
        cost.estimate(own, rates(), 8)
    Path("mine").mkdir()
    Path("mine/images.csv").write_text("path,patient_id,labels\na.png,1,nodule\nb.png,2,normal\n")
    views = without(own, ingest={"archive": "own", "root": "mine", "views": ["frontal"]})
    views = without(
        views,
        labels={
            "views": ["frontal"],
            "min_images": 1,
            "grouping": "specific",
            "exclude": [],
            "padded_labels": "count",
            "padded_kept": [],
        },
    )
    found = cost.estimate(views, rates(), 8)
    assert any(line.startswith("padchest: 2 of 2 images") for line in found.sizes)
    assert "whose size is not known before they are opened" in found.notes[-1]


def test_the_official_test_list_of_nih_is_a_part_of_its_own_size(paper, empty):
    official = without(without(paper, ingest={"archive": "nih"}), split={"official": True})
    known = sizes.Sizes(official)
    parts = known.parts(known.experiments["liz2022-specific"])
    assert parts["test"] / sum(parts.values()) == pytest.approx(25_596 / 112_120)
    assert parts["train"] / parts["val"] == pytest.approx(7)
    assert sum(parts.values()) == pytest.approx(85_367)


def test_radiologists_are_a_test_part_of_its_own_size_where_valid_csv_is_there(paper, empty):
    split = without(without(paper, ingest={"archive": "chexpert"}), split={"test_on": "radiologists"})
    known = sizes.Sizes(split)
    experiment = known.experiments["liz2022-specific"]
    assert known.parts(experiment)["test"] == pytest.approx(0.2 * 85_367)
    root = Path(known.datasets[experiment.dataset].root)
    root.mkdir(parents=True)
    for name in ("train.csv", "valid.csv"):
        (root / name).touch()
    parts = sizes.Sizes(split).parts(experiment)
    assert parts["test"] == pytest.approx(234)
    assert parts["train"] / parts["val"] == pytest.approx(7)


def test_a_label_set_that_no_paper_counts_has_at_most_all_images_of_its_views(paper, empty):
    own = [replace(job, wildcards={**job.wildcards, "label_set": "mine"}) if job.rule == "labels" else job for job in paper]
    own = [
        replace(job, inputs=tuple(path.replace("labels/padchest-specific", "labels/mine") for path in job.inputs))
        for job in own
    ]
    known = sizes.Sizes(own)
    found = known.label_set(known.experiments["liz2022-specific"].label_set)
    assert (found.images, found.classes) == (91_728, 193)
    assert found.source == "at most, from published counts"


def test_a_second_view_costs_a_second_backbone_and_its_images(empty, monkeypatch):
    chosen = "run=[padchest-pa-alone,padchest-two-views]"
    with monkeypatch.context() as patch:
        patch.chdir(ROOT)
        jobs = load(["--cores", "8", "--config", chosen]).jobs
    known = {**rates(), "networks": {name: {**rates()["networks"][name], "train_start": 0.0} for name in rates()["networks"]}}
    found = cost.estimate(jobs, known, 8)
    alone, both = (
        next(priced for priced in found.jobs if priced.job.name == f"train-padchest-{views}-EfficientNetB0")
        for views in ("pa-alone", "two-views")
    )
    assert both.seconds == pytest.approx(2 * alone.seconds)
    assert both.state == 2 * alone.state
    logits = alone.bytes["models"] - 4_000_000
    assert both.bytes["models"] == pytest.approx(8_000_000 + logits)
    assert int(both.job.resources["mem_mb"]) == 2 * int(alone.job.resources["mem_mb"])
    assert cost.summarise(found.jobs, 8)["result_bytes"]["ingested"] == pytest.approx((91_728 + 49_579) * 512 * 512, rel=1e-3)
    assert "padchest-studies: 49,579 images, 193 classes (at most, from published counts)" in found.sizes


def test_an_unknown_network_is_named_with_the_command_that_measures_it(paper, empty):
    with pytest.raises(ThoraxError, match=r"no MobileNet: measure it with `python -m bench rates --networks MobileNet"):
        cost.estimate(without(paper, train={"backbone": "MobileNet"}), rates(), 8)


def test_rates_that_are_something_else_are_one_sentence(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    for content in ('{"machine": 3}', "no JSON", '{"machine": {}, "rules": [], "networks": {}}'):
        other = tmp_path / "other.json"
        other.write_text(content)
        assert main(["cost", "--rates", str(other)]) == 1
        assert capsys.readouterr().err == (
            f"thorax: {other} is no file of rates: make one with `python -m bench rates --out {other}`.\n"
        )


def test_a_part_of_the_targets_is_refused(capsys):
    assert main(["cost", "--", "--cores", "8", "--until", "split"]) == 1
    text = "thorax: all jobs of the targets are meant here: name the files that you want instead of --until.\n"
    assert capsys.readouterr().err == text


def test_the_page_says_what_was_measured_and_json_has_the_same_figures(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    path = tmp_path / "rates.json"
    path.write_text(json.dumps(rates()))
    assert main(["cost", "--rates", str(path), "--json", "--", "--cores", "8", "--config", "run=[liz2022-specific]"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert main(["cost", "--rates", str(path), "--", "--cores", "8", "--config", "run=[liz2022-specific]"]) == 0
    page = capsys.readouterr().out
    assert page.startswith("rates: abacus, 2 cores, no GPU\n")
    assert page.splitlines()[1].startswith("A GPU here is a machine with these 2 cores.")
    assert f"critical path, {figures['all']['critical_hours']:,.0f} hours" in page
    assert [len(line.split("  ")) > 1 for line in page.splitlines() if line.startswith("training")] == [True]
    assert figures["all"]["phases"]["training"]["jobs"] == 5 + 5  # and the weights of each
    assert figures["left"]["jobs"] <= figures["all"]["jobs"]


def test_one_rule_makes_phantoms_of_every_form_and_their_cost_is_known(tmp_path, monkeypatch):
    study = yaml.safe_load((ROOT / "tests" / "workflow" / "tiny" / "config.yaml").read_text())
    for name, views in {"nih": ["PA", "AP"], "chexpert": ["PA", "AP", "Lateral"]}.items():
        phantom = {"patients": 60, "height": 128, "seed": 3}
        study["datasets"][name] = {"archive": name, "root": f"data/{name}", "views": views, "phantom": phantom}
        study["label_sets"][name] = {"dataset": name, "views": views, "min_images": 5, "without_class": "keep"}
        study["splits"][name] = {"label_sets": [name]}
        pairs = {"pairs": f"data/{name}/lung_masks", "train_patients_of": name}
        study["segmenters"][name] = {**study["segmenters"]["tiny-lungs"], **pairs}
        study["image_sets"][name] = {"dataset": name, "size": 32, "crop": "lungs", "segmenter": name}
        parts = {"label_set": name, "split": name, "image_set": name}
        study["experiments"][name] = {**study["experiments"]["tiny"], **parts, "cooccurrence": [], "case_classes": []}
        study["run"].append(name)
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text(yaml.safe_dump(study))
    jobs = load(["--snakefile", str(ROOT / "Snakefile"), "--configfile", "config.yaml", "--cores", "2"]).jobs
    made = {job.params["archive"]: job for job in jobs if job.rule == "phantom"}
    assert {archive: job.wildcards["phantom_root"] for archive, job in made.items()} == {
        "padchest": "data/tiny", "nih": "data/nih", "chexpert": "data/chexpert"
    }  # fmt: skip
    for job in made.values():
        assert set(job.outputs) == {f"{job.wildcards['phantom_root']}/{name}" for name in ("boxes.csv", "lung_masks/pairs.csv")}
    known = sizes.Sizes(jobs)
    drawn = sum(row.rows * row.columns for row in shapes(Phantom(patients=60, height=128, seed=3), "chexpert").itertuples())
    assert known.work(made["chexpert"]) == pytest.approx(drawn / 1e6)
    assert known.archive("nih").megapixels == pytest.approx(128 * 128 / 1e6)
    assert known.archive("nih").images == known.archive("nih").rows > 60  # every one is frontal
    assert 8 <= known.label_set("nih").classes <= 14
    assert known.label_set("chexpert").images == known.archive("chexpert").rows
    estimated = cost.estimate(jobs, cost.read_rates(cost.RATES), 8)
    assert sum(priced.job.rule == "phantom" for priced in estimated.jobs) == 3
