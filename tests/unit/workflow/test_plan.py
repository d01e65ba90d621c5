"""What the rules compute from a configuration: files, options and parameters, without Snakemake."""

import json
import re
import shlex
from pathlib import Path
from types import SimpleNamespace as Wildcards

import pytest
import yaml

from thorax import config
from thorax.archives import manifest
from thorax.config import Config, parse
from thorax.errors import ThoraxError
from thorax.workflow import bundled, code, fields, pages
from thorax.workflow.plan import Plan

NOTEBOOKS = Path(__file__).parents[3] / "notebooks"
CONFIG = """
datasets:
  padchest: {archive: padchest, root: data/padchest, views: [PA], shards: 2}
  lateral: {archive: padchest, root: data/padchest, views: [Lateral], shards: 1}
  nih: {archive: nih, root: data/nih, views: [PA, AP], shards: 1, download: true}
  made: {archive: padchest, root: data/made, shards: 1, phantom: {patients: 60}}
label_sets:
  specific: {dataset: padchest}
  general: {dataset: padchest, grouping: general}
  inside: {dataset: padchest, inside: general}
  studies: {dataset: padchest, second: lateral}
  nih: {dataset: nih, views: [PA, AP]}
splits:
  pa: {label_sets: [specific, general], same_image: ignore}
  studies: {label_sets: [studies]}
  nih: {label_sets: [nih], official: true}
segmenters:
  lungs: {pairs: data/masks, train_patients_of: pa}
  fetched: {pairs: data/fetched, download: [montgomery]}
  made: {pairs: data/made/lung_masks}
image_sets:
  whole: {dataset: padchest}
  crops: {dataset: padchest, crop: lungs, segmenter: lungs}
  lateral: {dataset: lateral}
  nih: {dataset: nih}
experiments:
  flat: &flat
    title: Flat
    paper: liz2022
    label_set: specific
    split: pa
    image_set: crops
    training: {backbone: cnn, weights: none, loss: bce}
    members: {one: {seed: 1}, two: {backbone: DenseNet121, weights: imagenet, test_every_epoch: [0.5]}}
    ensembles:
      CTP: {rule: ctp, members: [one, two]}
      learnt: {rule: weighted_average, members: [two, one]}
    thresholds: [fixed-0.5, f1]
    f1_metric: f1_positive
    cooccurrence: [normal, pleural effusion]
    exclusive: normal
    seed: 5
  again: {<<: *flat, title: Again}
  uncropped: {<<: *flat, title: Uncropped, image_set: whole}
  general: {<<: *flat, title: General, label_set: general, thresholds: [fixed-0.5]}
  inside: {<<: *flat, title: Inside, label_set: inside}
  studies: {<<: *flat, title: Studies, label_set: studies, split: studies, image_set: whole, second_image_set: lateral, paper: null, exclusive: null}
  nih:
    title: NIH
    label_set: nih
    split: nih
    image_set: nih
    training: {backbone: cnn, weights: none, loss: bce}
    members: {one: {head: attention}, two: {}}
cascades:
  cascade: {title: Cascade, general: general, inside: inside, flat: flat, models: [CTP, one]}
comparisons:
  both: {title: Both, experiments: {flat: [one, CTP], again: [two]}}
cross:
  archives: {title: Archives, experiments: {uncropped: CTP, nih: one}}
run: [flat, general, inside]
"""


def written() -> dict:
    return yaml.safe_load(CONFIG)


def planned(**changes) -> Plan:
    return Plan(parse(Config, {**written(), **changes}, "the configuration"))


@pytest.fixture(scope="module")
def plan() -> Plan:
    return planned()


FLAT, STUDIES, NIH = Wildcards(experiment="flat"), Wildcards(experiment="studies"), Wildcards(experiment="nih")
CASCADE = Wildcards(cascade="cascade", model="one")


def test_wildcards_match_the_names_of_the_configuration_and_no_others(plan):
    patterns = plan.wildcards()
    assert [name for name in ("pa", "pax", "nih", "") if re.fullmatch(patterns["split"], name)] == ["pa", "nih"]
    assert re.fullmatch(patterns["phantom_root"], "data/made")
    assert not re.fullmatch(patterns["ablation"], "")
    assert set(patterns["model"].split("|")) == {"baseline", "one", "two", "CTP", "learnt"}


def test_a_field_of_a_block_and_its_text(plan):
    assert plan.field("experiment", "seed")(FLAT) == 5
    assert plan.field("experiment", "members")(FLAT) == ["one", "two"]
    assert plan.field("ensemble", "members")(Wildcards(experiment="flat", ensemble="learnt")) == ["two", "one"]
    assert plan.settings("dataset", "root", "archive")(Wildcards(dataset="nih")) == '{"archive": "nih", "root": "data/nih"}'
    member = json.loads(plan.settings("member")(Wildcards(experiment="flat", member="two")))
    assert (member["backbone"], member["loss"]) == ("DenseNet121", "bce")
    assert json.loads(plan.phantom_settings(Wildcards(phantom_root="data/made")))["patients"] == 60


def test_the_experiment_that_stands_for_several(plan):
    assert plan.field("leading", "title")(FLAT) == "Flat"
    assert plan.field("leading", "title")(CASCADE) == "Flat"
    assert plan.field("leading", "title")(Wildcards(comparison="both")) == "Flat"
    assert plan.field("leading", "members")(Wildcards(cross="archives")) == ["one", "two"]
    assert plan.truth(CASCADE) == {"labels": "results/labels/specific.parquet", "split": "results/splits/pa.parquet"}


def test_the_data_set_behind_a_job(plan):
    assert plan.catalog(Wildcards(label_set="studies")) == "results/catalog/padchest.parquet"
    assert plan.catalog(Wildcards(split="nih")) == "results/catalog/nih.parquet"
    assert plan.archive(CASCADE) == "padchest"
    assert plan.datasets_of("studies") == ["padchest", "lateral"]
    assert list(plan.of_datasets("*")) == ["padchest"]
    assert list(planned(run=["studies", "nih"]).of_datasets("*")) == ["lateral", "nih", "padchest"]


def test_what_is_made_before_files_are_listed(plan):
    assert plan.made_before(Wildcards(dataset="padchest")) == []
    assert plan.made_before(Wildcards(dataset="nih")) == "results/raw/nih.files.csv"
    assert plan.made_before(Wildcards(dataset="made")) == "data/made/boxes.csv"
    assert plan.made_before(Wildcards(segmenter="lungs")) == []
    assert plan.made_before(Wildcards(segmenter="fetched")) == "results/raw/fetched.pairs.csv"
    assert plan.made_before(Wildcards(segmenter="made")) == "data/made/lung_masks/pairs.csv"


def test_the_options_of_a_manifest_carry_a_stamp_after_a_change(monkeypatch):
    asked, told = [], []

    def changes(folder, listed, seen, select, same_list, images):
        asked.append((str(folder), str(listed), str(seen), str(images)))
        found = {"data/nih": ("f00d", "beef", "data/nih has changed"), "data/padchest": ("f00d", "", "labels have changed")}
        return manifest.Changes(*found.get(str(folder), ("", "", "")))

    monkeypatch.setattr(manifest, "changes", changes)
    plan = Plan(planned().config, told.append)
    settings = """--settings '{"archive": "nih", "root": "data/nih", "views": ["PA", "AP"]}'"""
    for _ in range(2):
        assert plan.manifest_options(Wildcards(dataset="nih")) == f"{settings} --stamp f00d --image-stamp beef"
        assert plan.image_stamp(Wildcards(dataset="nih")) == "beef"
    assert plan.manifest_options(Wildcards(segmenter="lungs")) == ""
    assert told == ["data/nih has changed"]
    assert plan.manifest_options(Wildcards(dataset="padchest")).endswith(" --stamp f00d --image-stamp ''")
    assert plan.image_stamp(Wildcards(dataset="padchest")) == ""
    assert asked == [
        ("data/nih", "results/raw/nih.manifest.parquet", "work/manifests/nih.files.parquet", "results/raw/nih.images.parquet"),
        ("data/masks", "results/raw/pairs/lungs.manifest.parquet", "work/manifests/pairs/lungs.files.parquet", "None"),
        (
            "data/padchest",
            "results/raw/padchest.manifest.parquet",
            "work/manifests/padchest.files.parquet",
            "results/raw/padchest.images.parquet",
        ),
    ]


def test_files_of_labels_and_splits(plan):
    around = plan.file("label_set", "inside", "results/labels/*.parquet")
    assert around(Wildcards(label_set="inside")) == "results/labels/general.parquet"
    assert around(Wildcards(label_set="general")) == []
    assert plan.second_views(Wildcards(label_set="nih")) == []
    assert plan.second_views(Wildcards(label_set="studies")) == ["Lateral"]
    assert plan.duplicates(Wildcards(split="pa")) == []
    assert plan.duplicates(Wildcards(split="studies")) == "results/ingested/padchest.duplicates.parquet"
    assert plan.kept(Wildcards(split="pa")) == []
    keeping = {**written()["splits"], "studies": {"label_sets": ["studies"], "keep": "data/old.csv"}}
    assert planned(splits=keeping).kept(Wildcards(split="studies")) == ["data/old.csv"]
    assert plan.named_classes("specific") == (
        "experiments.flat.exclusive=normal experiments.flat.cooccurrence=normal "
        "'experiments.flat.cooccurrence=pleural effusion'"
    )


def test_files_of_images(plan):
    lungs = plan.file("image_set", "segmenter", "results/lungs/*/{dataset}.{shard}.parquet")
    assert lungs(Wildcards(image_set="crops")) == "results/lungs/lungs/{dataset}.{shard}.parquet"
    assert lungs(Wildcards(image_set="whole")) == []
    assert plan.data("experiment")(FLAT) == {
        "labels": "results/labels/specific.parquet",
        "split": "results/splits/pa.parquet",
        "ingested": "results/ingested/padchest.parquet",
        "images": ["results/images/crops/padchest.0.npy", "results/images/crops/padchest.1.npy"],
    }
    assert plan.second_images(FLAT) == {}
    assert plan.second_images(STUDIES) == {
        "pairs": "results/pairs/studies.parquet",
        "second_ingested": "results/ingested/lateral.parquet",
        "second_images": ["results/images/lateral/lateral.0.npy"],
    }
    assert plan.lungs_figure(Wildcards(image_set="crops"))["masks"] == [f"results/lungs/lungs/padchest.{n}.npy" for n in (0, 1)]


def test_what_a_training_needs(plan):
    one, two = (Wildcards(experiment="flat", member=name) for name in ("one", "two"))
    assert (plan.weights(one), plan.weights(two)) == ({}, {"weights": "resources/weights/DenseNet121.h5"})
    assert plan.training_memory(Wildcards(experiment="studies", member="two")) == 2 * plan.training_memory(two)
    assert plan.of_models("epochs")(FLAT) == ["results/epochs/flat/two.csv"]


def test_repeated_trainings_are_members_with_the_next_seeds_and_in_no_ensemble():
    flat = {**written()["experiments"]["flat"], "repeats": 3, "experts": {"files": ["a.csv", "b.csv"]}, "suspects": 5}
    plan = planned(experiments={**written()["experiments"], "flat": flat})
    again = ["one.2", "two.2", "one.3", "two.3"]
    assert plan.field("experiment", "trainings")(FLAT) == ["one", "two", *again]
    assert plan.field("experiment", "members")(FLAT) == ["one", "two"]
    seeds = [plan.config.experiments["flat"].member(name).seed for name in ("one", "one.2", "one.3", "two", "two.3")]
    assert seeds == [1, 2, 3, 0, 2]
    third = Wildcards(experiment="flat", member="two.3")
    assert json.loads(plan.settings("member")(third))["backbone"] == "DenseNet121"
    assert plan.weights(third) == {"weights": "resources/weights/DenseNet121.h5"}
    assert all(re.fullmatch(plan.wildcards()["member"], name) for name in again)
    assert "results/history/flat/two.3.json" in plan.records()
    assert not any(".2" in path for path in plan.of_models("predictions")(FLAT))
    assert plan.read_again(FLAT) == ["a.csv", "b.csv"]
    assert json.loads(plan.experts(FLAT))["files"] == ["a.csv", "b.csv"]


def starting(weights: object, experiment: str = "flat", member: str = "one", **changes: object) -> dict:
    """The experiments, with other initial weights of one member."""
    experiments = written()["experiments"]
    block = experiments[experiment]
    experiments[experiment] = {**block, "members": {**block["members"], member: {"weights": weights, **changes}}}
    return experiments


def test_a_training_that_starts_from_another_needs_its_network_and_label_set():
    plan = planned(experiments=starting({"experiment": "nih", "member": "two"}))
    assert plan.weights(Wildcards(experiment="flat", member="one")) == {
        "weights": "results/models/nih/two.keras",
        "weights_labels": "results/labels/nih.parquet",
    }
    assert plan.weights(Wildcards(experiment="nih", member="two")) == {}
    settings = json.loads(plan.settings("member")(Wildcards(experiment="flat", member="one")))
    assert settings["weights"] == {"experiment": "nih", "member": "two", "bundle": None}


def test_a_training_that_starts_from_a_bundle_needs_what_is_taken_out_of_it():
    one = Wildcards(experiment="flat", member="one")
    taken = {
        name: f"results/starts/flat/one.{suffix}" for name, suffix in (("weights", "keras"), ("weights_labels", "parquet"))
    }
    for member, option in (("two", "--member two"), (None, "")):
        plan = planned(experiments=starting({"bundle": "data/nih 1.zip", "member": member}))
        assert plan.weights(one) == taken
        assert (plan.bundle(one), plan.bundled_member(one)) == ("data/nih 1.zip", option)
        assert plan.published_archive(one) == "--archive padchest"
        assert plan.file("experiment", "split", "results/splits/*.parquet")(one) == "results/splits/pa.parquet"


@pytest.mark.parametrize(
    ("experiments", "sentence"),
    [
        (starting({"experiment": "nihh", "member": "two"}), ".experiment: 'nihh' is not in experiments: .*did you mean 'nih'"),
        (starting({"experiment": "nih", "member": "too"}), ".member: 'too' is not a member of 'nih': one, two"),
        (starting({"experiment": "flat", "member": "one"}), ": a network cannot start from itself: let one of them"),
        (starting({"experiment": "flat", "member": "two"}), ": flat/two has backbone DenseNet121, and this network cnn: give both"),
        (starting({"experiment": "nih", "member": "one"}), ": nih/one has head attention, and this network dense: give both the"),
        (starting({"experiment": "nih", "member": "two"}, dense_units=8), ": nih/two has dense_units 512, and this network 8: "),
        (starting({"experiment": "nih", "member": "two"}, channels=1), ": nih/two has channels 3, and this network 1: give both"),
        (starting({"experiment": "studies", "member": "one"}), ": studies/one has number of views 2, and this network 1: give"),
        (starting("ImageNet"), ": 'ImageNet' is not a starting point: write imagenet, none, {experiment"),
        (starting({"experiment": "nih"}), ": name the member of 'nih' as well"),
        (starting({"member": "one"}), ": name either an experiment and a member, or a bundle"),
        (starting({"experiment": "nih", "membre": "one"}), ": unknown key 'membre'"),
    ],
)  # fmt: skip
def test_a_starting_point_that_does_not_fit_is_refused_in_one_sentence(experiments, sentence):
    with pytest.raises(ThoraxError, match=rf"^the configuration: experiments\.flat\.members\.one\.weights{sentence}") as caught:
        planned(experiments=experiments)
    assert "\n" not in str(caught.value)


def test_trainings_that_wait_for_each_other_are_refused():
    experiments = starting({"experiment": "again", "member": "one"})
    experiments["again"] = starting({"experiment": "flat", "member": "one"}, "again")["again"]
    with pytest.raises(ThoraxError, match="wait for each other: flat/one starts from again/one starts from flat/one: let one"):
        planned(experiments=experiments)
    repeated = starting({"experiment": "flat", "member": "one.2"})
    repeated["flat"]["repeats"] = 2
    with pytest.raises(
        ThoraxError, match=r"one\.weights: they wait for each other: flat/one\.2 starts from flat/one\.2|itself"
    ):
        planned(experiments=repeated)


def test_a_network_that_may_have_seen_the_test_patients_is_refused():
    """Even if another training is between the two."""
    written_ = written()
    splits = {**written_["splits"], "other": {"label_sets": ["specific"]}}
    experiments = starting({"experiment": "nih", "member": "two"})
    experiments["nih"] = starting({"experiment": "again", "member": "one"}, "nih", "two")["nih"]
    assert planned(splits=splits, experiments=experiments)
    experiments["again"] = {**experiments["again"], "split": "other"}
    with pytest.raises(
        ThoraxError, match="'again' learns from training patients of split 'other', who may be test patients of 'pa'"
    ):
        planned(splits=splits, experiments=experiments)


@pytest.mark.parametrize(
    ("datasets", "provenance", "refused"),
    [
        ([{"archive": "nih", "root": "data/nih"}, {"archive": "nih", "root": "data/nih_real"}], "sample", True),
        ([{"archive": "nih", "root": "data/nih"}, {"archive": "padchest", "root": "data/nih"}], "full", False),
        (
            [{"archive": "nih", "root": "data/nih"}, {"archive": "nih", "root": "data/p", "phantom": {"patients": 60}}],
            "full",
            False,
        ),
        ([{"archive": "nih", "root": "data/p"}, {"archive": "nih", "root": "data/q"}], "phantom", False),
        (
            [{"archive": "nih", "root": "data/p", "phantom": {"patients": 60}}, {"archive": "nih", "root": "data/./p"}],
            "phantom",
            True,
        ),
        ([{"archive": "own", "root": "data/a"}, {"archive": "own", "root": "data/b"}], "full", False),
        ([{"archive": "own", "root": "data/a"}, {"archive": "own", "root": "data/../data/a"}], "full", True),
    ],
)
def test_a_published_archive_has_the_same_patients_in_every_folder(datasets, provenance, refused):
    def block(name: str, **more) -> dict:
        training = {"backbone": "cnn", "weights": "none", "loss": "bce"}
        parts = {"label_set": name, "split": name, "image_set": name, "provenance": provenance, "training": training}
        return {"title": name, **parts, "members": {"net": more}}

    changes = {
        "datasets": {name: datasets[place] for place, name in enumerate("ab")},
        "label_sets": {name: {"dataset": name} for name in "ab"},
        "splits": {name: {"label_sets": [name]} for name in "ab"},
        "image_sets": {name: {"dataset": name} for name in "ab"},
        "experiments": {"a": block("a"), "b": block("b", weights={"experiment": "a", "member": "net"})},
    }
    nothing = {"segmenters": {}, "cascades": {}, "comparisons": {}, "cross": {}, "run": ["b"]}
    if refused:
        with pytest.raises(ThoraxError, match=r"'a' learns .* of 'b': use the same data set and split in both"):
            planned(**changes, **nothing)
    else:
        planned(**changes, **nothing)


def test_no_model_is_tested_across_archives_on_patients_that_it_may_have_started_from():
    written_ = written()
    splits = {**written_["splits"], "other": {"label_sets": ["nih"]}}
    experiments = written_["experiments"]
    experiments["more"] = {**experiments["nih"], "members": {"two": {}}, "split": "other"}
    members = {"one": {"weights": {"experiment": "more", "member": "two"}}}
    experiments["uncropped"] = {**experiments["uncropped"], "members": {**experiments["flat"]["members"], **members}}
    match = r"cross\.archives\.experiments\.uncropped: 'more' learns from training patients of split 'other', who may be test"
    with pytest.raises(
        ThoraxError, match=match
    ):  # `uncropped` itself is of another archive, but its ensemble is tested on this one
        planned(splits=splits, experiments=experiments)
    experiments["more"] = {**experiments["more"], "split": "nih"}
    assert planned(splits=splits, experiments=experiments)


def test_images_of_another_size_or_shared_settings_are_named_where_they_are_written():
    written_ = written()
    sets = {**written_["image_sets"], "nih": {"dataset": "nih", "size": 128}}
    experiments = written_["experiments"]
    training = {**experiments["uncropped"]["training"], "weights": {"experiment": "nih", "member": "two"}}
    experiments["uncropped"] = {**experiments["uncropped"], "training": training}
    match = r"experiments\.uncropped\.training\.weights: nih/two has size of the images 128, and this network 224: give both"
    with pytest.raises(ThoraxError, match=match):
        planned(image_sets=sets, experiments=experiments)


def test_scores_and_their_options(plan):
    of = lambda model: Wildcards(experiment="flat", model=model)
    assert plan.scores(of("CTP")) == "results/ensembles/flat/CTP.parquet"
    assert plan.scores(of("baseline")) == "results/predictions/flat/baseline.parquet"
    assert (plan.logits(of("CTP")), plan.logits(of("baseline"))) == ("", "--logits")
    assert plan.curves_model(FLAT) == "learnt"  # the weighted average comes before CTP
    assert (plan.scores(FLAT), plan.logits(FLAT)) == ("results/ensembles/flat/learnt.parquet", "")
    assert (plan.curves_model(NIH), plan.logits(NIH)) == ("one", "--logits")
    assert plan.truth_to_learn(Wildcards(experiment="flat", ensemble="CTP")) == {}
    assert plan.truth_to_learn(Wildcards(experiment="flat", ensemble="learnt")) == plan.truth(FLAT)
    assert plan.learning_ensembles(FLAT) == ["learnt"]


def test_files_of_metrics(plan):
    assert fields.named(plan.of_models("predictions")(FLAT)) == [
        f"{name}=results/predictions/flat/{name}.parquet" for name in ("one", "two", "baseline")
    ]
    both = Wildcards(comparison="both")
    assert plan.metrics(both) == ["results/metrics/flat.parquet", "results/metrics/again.parquet"]
    assert plan.columns(both) == ["flat/one", "flat/CTP", "again/two"]
    assert tuple(map(plan.option("exclusive"), (FLAT, NIH))) == ("--exclusive normal", "")
    assert tuple(map(plan.option("paper"), (FLAT, STUDIES))) == ("--paper liz2022", "")
    assert (plan.tested_on(FLAT), plan.tested_on(NIH)) == ("--archive padchest", "--archive nih --official-lists")
    assert plan.field("experiment", "cooccurrence")(FLAT) == ["normal", "pleural effusion"]


def test_a_cascade_reads_the_scores_of_its_two_experiments(plan):
    assert plan.cascade_steps(CASCADE) == {
        "general": "results/predictions/general/one.parquet",
        "inside": "results/predictions/inside/one.parquet",
    }
    assert plan.cascade_steps(Wildcards(cascade="cascade", model="CTP"))["inside"] == "results/ensembles/inside/CTP.parquet"
    assert plan.inside_label_set(CASCADE) == "inside"
    assert fields.named(plan.cascade_metrics)(CASCADE) == [
        "flat=results/metrics/flat.parquet", "cascade=results/metrics/cascade.parquet",
    ]  # fmt: skip
    assert plan.columns(CASCADE) == ["flat/CTP", "flat/one", "cascade/CTP", "cascade/one"]


def test_the_scores_whose_differences_are_taken(plan):
    both = Wildcards(comparison="both")
    assert plan.column_scores("predictions")(both) == {
        "flat/one": "results/predictions/flat/one.parquet",
        "again/two": "results/predictions/again/two.parquet",
    }
    assert plan.column_files("ensembles")(both) == ["results/ensembles/flat/CTP.parquet"]
    assert plan.column_scores("predictions")(CASCADE) == {"flat/one": "results/predictions/flat/one.parquet"}
    assert plan.column_scores("ensembles")(CASCADE) == {
        "flat/CTP": "results/ensembles/flat/CTP.parquet",
        "cascade/CTP": "results/cascades/cascade/CTP.parquet",
        "cascade/one": "results/cascades/cascade/one.parquet",
    }
    beside = {"paper": "liz2022", "variant": "specific", "models": {"one": "Xception"}}
    first, second = ({**written()["experiments"][name], "beside": beside} for name in ("flat", "again"))
    second |= {
        "members": {"one": {"seed": 2}, "three": {"seed": 3}},
        "ensembles": {"CTP": {"rule": "ctp", "members": ["one", "three"]}},
    }
    ablation = {"title": "A", "experiments": ["flat", "again"]}
    study = planned(
        experiments={**written()["experiments"], "flat": first, "again": second}, ablations={"a": ablation}, comparisons={}
    )
    expected = ["flat/one", "flat/two", "flat/CTP", "flat/learnt", "again/one", "again/CTP"]  # what the first has
    assert study.columns(Wildcards(ablation="a")) == expected


def test_bold_print_follows_the_differences_or_the_papers_rule(plan):
    assert plan.marking(FLAT) == "results/differences/flat.parquet"
    experiments = written()["experiments"]
    paper = planned(experiments={**experiments, "flat": {**experiments["flat"], "bold": "paper"}})
    assert paper.marking(FLAT) == []


def test_every_model_is_tested_on_every_archive(plan):
    cross = Wildcards(cross="archives")
    assert plan.cross_archives(cross) == {"uncropped": "padchest", "nih": "nih"}
    assert plan.cross_scores("predictions")(cross) == {
        "nih@uncropped": "results/predictions/nih/one@uncropped.parquet",
        "nih@nih": "results/predictions/nih/one.parquet",
    }
    assert list(plan.cross_scores("ensembles")(cross)) == ["uncropped@uncropped", "uncropped@nih"]
    assert plan.cross_files(cross)["splits"] == ["results/splits/pa.parquet", "results/splits/nih.parquet"]


def test_heatmaps_show_the_members_of_the_mean(plan):
    files = plan.heatmaps(FLAT)
    assert files["heatmaps"] == ["results/heatmaps/flat/one.npy", "results/heatmaps/flat/two.npy"]
    assert files["ensemble"] == "results/ensembles/flat/CTP.parquet"
    assert files["lungs"] == ["results/lungs/lungs/padchest.0.parquet", "results/lungs/lungs/padchest.1.parquet"]
    assert "lungs" not in plan.heatmaps(NIH)
    assert plan.attention(NIH)["attention"] == ["results/attention/nih/one.npy"]


def test_the_case_browser_has_the_scaling_of_all_models_and_readers_where_there_are_some(plan):
    files = plan.browsed(FLAT)
    assert (files["scaling"], files["split"], files["readers"]) == (
        "results/calibration/flat.parquet",
        "results/splits/pa.parquet",
        [],
    )
    assert plan.expert_options(FLAT) == ""
    experiments = written()["experiments"]
    experts = {"files": ["a b.csv", "c.csv"], "id": "image"}
    asked = planned(experiments={**experiments, "flat": {**experiments["flat"], "experts": experts}})
    assert asked.browsed(FLAT)["readers"] == ["a b.csv", "c.csv"]
    option, text = shlex.split(asked.expert_options(FLAT))
    assert (option, json.loads(text)["files"]) == ("--settings", ["a b.csv", "c.csv"])


def test_records_have_the_masks_of_crops_and_scores_also_the_boxes(plan):
    files = plan.recorded(FLAT)
    assert {"ensemble", "arrays", "boxes"}.isdisjoint(files)
    assert files["masks"] == ["results/lungs/lungs/padchest.0.npy", "results/lungs/lungs/padchest.1.npy"]
    assert "masks" not in plan.recorded(NIH)
    assert plan.boxed(FLAT)["boxes"] == "results/boxes/padchest.parquet"
    assert pages.records(plan.config)[0] == f"results/records/{plan.run[0]}.parquet"


def test_a_notebook_gets_the_files_of_its_rule_and_its_settings(plan):
    """Files by the names of their networks where the notebook has a mapping, in order where it has a list; none is left out."""
    files = plan.heatmaps(FLAT) | {"ensemble": [], "cases": "cases", "notebook": str(NOTEBOOKS / "explanation.ipynb")}
    settings = plan.notebook("heatmaps classes", "title", wanted=plan.field("experiment", "case_classes"), ensemble_name="CTP")
    rule = Rule("heatmaps", "a.html", "thorax render", Named(files), settings=settings)
    fields.complete([rule], "envs/cpu.yaml", plan.parameter)
    assert rule.params["code"](FLAT) == code.digest("render") + code.notebook_digest(files["notebook"])
    outputs = ["figures/a.b/heatmaps.html", "figures/a.b/classes.html"]
    found = json.loads(rule.params["parameters"](FLAT, rule.input, outputs))
    assert found == {
        "draw": ["heatmaps", "classes"], "out": "figures/a.b/heatmaps", "title": "Flat", "wanted": [], "ensemble_name": "CTP",
        "heatmaps": {"one": "results/heatmaps/flat/one.npy", "two": "results/heatmaps/flat/two.npy"},
        "predictions": {"one": "results/predictions/flat/one.parquet", "two": "results/predictions/flat/two.parquet"},
        "arrays": ["results/ingested/padchest.0.npy", "results/ingested/padchest.1.npy"],
        "lungs": ["results/lungs/lungs/padchest.0.parquet", "results/lungs/lungs/padchest.1.parquet"],
        "cases": "cases", "labels": "results/labels/specific.parquet", "boxes": "results/boxes/padchest.parquet",
        "ingested": "results/ingested/padchest.parquet",
    }  # fmt: skip
    with pytest.raises(KeyError, match="histories"):
        fields.notebook_files(Named(notebook=files["notebook"], histories=["h.csv"]))


def test_only_nihs_boxes_are_the_work_of_experts_and_no_phantoms_are(plan):
    assert (plan.boxes_by(FLAT), plan.boxes_by(NIH)) == ("archive", "experts")
    datasets = written()["datasets"]
    datasets["nih"] |= {"download": False, "phantom": {"patients": 60}}
    assert planned(datasets=datasets).boxes_by(NIH) == "phantom"
    experiments = {name: {**block, "provenance": "phantom"} for name, block in written()["experiments"].items()}
    assert planned(experiments=experiments).boxes_by(NIH) == "phantom"


def test_the_figures_of_liz_2022_have_the_look_of_the_paper():
    study = config.load(Path(__file__).parents[3] / "config.yaml")
    styles = {name: block.heatmap_style for name, block in study.experiments.items()}
    assert {name for name, look in styles.items() if look == "paper"} == {
        name for name in styles if name.startswith("liz2022-")
    }


def test_tables_of_the_whole_run(plan):
    assert plan.summary_rows("labels") == {name: f"results/labels/{name}.parquet" for name in ("specific", "general", "inside")}
    twice = written()["splits"]
    twice["other"] = {"label_sets": ["specific"]}
    experiments = written()["experiments"]
    experiments["sample"] = {**experiments["flat"], "split": "other", "image_set": "whole", "provenance": "sample"}
    both = planned(splits=twice, experiments=experiments, run=["flat", "sample"])
    assert both.summary_rows("splits") == {
        "specific/pa": "results/splits/pa.parquet", "general": "results/splits/pa.parquet",
        "specific/other": "results/splits/other.parquet",
    }  # fmt: skip
    assert both.screened_splits() == {f"padchest/{name}": f"results/splits/{name}.parquet" for name in ("other", "pa")}
    assert plan.screened_lungs() == [("padchest/lungs", f"results/lungs/lungs/padchest.{n}.parquet") for n in (0, 1)]
    assert (plan.measured_on(), both.measured_on(), planned(run=[]).measured_on()) == ("full", "sample", "full")


def test_the_audit_of_a_run_is_that_of_its_whole_archives(plan):
    assert (plan.audit.splits, plan.audit.label_sets, plan.audit.datasets) == (["pa"], ["specific", "general"], ["padchest"])
    assert plan.audit.metadata(Wildcards(dataset="nih")) == "results/raw/nih.manifest.parquet"
    assert plan.audit.split(Wildcards(label_set="general")) == "results/audit/splits/pa.parquet"


def test_without_a_run_the_archives_are_audited_whose_metadata_is_here(tmp_path):
    audit = {"metadata": str(tmp_path), "compare": {"nih": "nih", "specific": "pa"}}
    with pytest.raises(ThoraxError, match=r"nothing to run and nothing to audit: .* has no archive's metadata file"):
        _ = planned(run=[], audit=audit).audit.splits
    table = tmp_path / "Data_Entry_2017_v2020.csv"
    table.touch()
    plan = planned(run=[], audit=audit)
    assert (plan.audit.splits, plan.audit.label_sets) == (["nih"], ["nih"])
    assert plan.audit.absent_and_divided() == ["padchest"]
    assert plan.audit.metadata(Wildcards(dataset="nih")) == [str(table)]
    assert json.loads(plan.audit.catalog_settings(Wildcards(dataset="nih"))) == {"archive": "nih", "root": str(tmp_path)}
    assert plan.audit.catalog(Wildcards(label_set="nih")) == "results/audit/catalog/nih.parquet"


def test_fields_of_rules():
    text = fields.filled_in("option_second_images")
    assert text(None, Named(second_images=["b", "c"]), Named()) == "--second-images b c"
    assert text(None, Named(second_images=[]), Named(second_images="a")) == "--second-images a"
    assert text(None, Named(), Named()) == ""
    assert fields.memory(700)(None, 3) == 2100
    assert fields.memory(lambda wildcards: 5)(None, 2) == 10
    assert fields.figure("roc")["pictures"] == [f"results/figures/{{experiment}}/roc.{suffix}" for suffix in ("png", "svg")]
    both = fields.tables("summary", "per_class")
    assert both["html"] == ["results/tables/summary.html", "results/tables/{experiment}/per_class.html"]
    assert both["others"][:3] == [f"results/tables/summary.{suffix}" for suffix in ("csv", "md", "tex")]
    assert fields.tables("systems", path="results/of/{archive}.html")["others"][2] == "results/of/{archive}.tex"
    assert fields.is_spared("results/ingested/padchest.0.npy")
    assert not fields.is_spared("results/ingested/padchest.parquet")


class Named(dict):
    """Inputs or parameters, also as attributes."""

    __getattr__ = dict.__getitem__


class Rule:
    """A rule as Snakemake has read it, without what all rules have."""

    output_modifier = None

    def __init__(self, name: str, output: str, shellcmd: str | None, files: Named | None = None, **params):
        self.name, self.output, self.shellcmd, self.input, self.log = name, [output], shellcmd, files, None
        self.params = Named(params)

    def set_log(self, path):
        self.log = path

    def set_params(self, **params):
        self.params |= params


def test_what_every_rule_with_a_command_has():
    """A download has no digest: what it fetches has checksums, and is not fetched again because our code changed."""
    train = Rule("train", "results/models/{experiment,flat|again}/{member}.keras", "exec thorax train --out {output.model}")
    fetch = Rule("weights", "resources/weights/{backbone}.h5", "thorax download weights/{wildcards.backbone}")
    table = Rule("summary", "results/tables/summary.html", "thorax summary --out {params.folder}")
    other = Rule("beside", "results/tables/{experiment}/b.html", "thorax beside {params.title:q} --out {params.stem}")
    ablation = Rule("ablation", "results/a.html", "thorax ablation --metrics {params.named_metrics}")
    target = Rule("all", "", None)
    fields.complete(
        [train, fetch, table, other, ablation, target], "envs/cpu.yaml", lambda name: lambda wildcards: name.upper()
    )
    assert (train.log, train.benchmark) == (
        "logs/train/{experiment}/{member}.log",
        "benchmarks/train/{experiment}/{member}.tsv",
    )
    assert (table.log, table.benchmark, target.log) == ("logs/summary.log", "benchmarks/summary.tsv", None)
    assert {rule.conda_env for rule in (train, fetch, table)} == {"envs/cpu.yaml"}
    assert (train.params["code"](None), table.params["code"](None)) == (code.digest("train"), code.digest("summary"))
    assert (fetch.params, target.params) == ({}, {})
    assert (set(train.params), set(table.params), set(other.params)) == (
        {"code"},
        {"code", "folder"},
        {"code", "stem", "title"},
    )
    assert str(table.params["folder"](None, ["results/tables/a/b.html"])) == "results/tables/a"
    assert str(other.params["stem"](None, ["results/tables/a.b/b.html"])) == "results/tables/a.b/b"
    assert other.params["title"](None) == "TITLE"
    assert ablation.params["named_metrics"](None, Named(metrics=["results/metrics/A.parquet"])) == [
        "A=results/metrics/A.parquet"
    ]
    assert ablation.params["named_metrics"](None, Named()) == []


def test_a_bundle_has_the_networks_of_the_mean_and_what_was_measured_of_it(plan):
    packed = bundled.BundlePlan(plan)
    files = packed.files(Wildcards(experiment="flat"))
    assert files["networks"] == ["results/models/flat/one.keras", "results/models/flat/two.keras"]
    assert files["ensembles"] == ["results/ensembles/flat/CTP.parquet"]
    assert files["segmenter"] == "results/segmenters/lungs.keras"
    assert files["boxes"] == "results/heatmaps/flat.scores.parquet"
    settings = config.parse_text(config.Bundled, packed.settings(Wildcards(experiment="flat")), "settings")
    assert (settings.name, settings.model) == ("flat", "CTP")
    assert settings.segmenter == plan.config.segmenters["lungs"]


@pytest.mark.parametrize(
    ("members", "ensembles", "model"),
    [
        (["a"], {}, "a"),
        (["a", "b"], {}, None),
        (["a", "b"], {"votes": "max_vote", "mean": "ctp"}, "mean"),
        (["a", "b"], {"votes": "max_vote", "stack": "stacked"}, "votes"),
    ],
)
def test_the_model_of_a_bundle_is_the_mean_else_the_first_ensemble_else_the_only_network(members, ensembles, model):
    shared = {
        "title": "T",
        "label_set": "x",
        "split": "x",
        "image_set": "x",
        "training": {"backbone": "cnn", "weights": "none"},
    }
    rules = {name: {"rule": rule, "members": members} for name, rule in ensembles.items()}
    experiment = config.Experiment(**shared, members={name: {} for name in members}, ensembles=rules)
    assert bundled.model_of(experiment) == model
