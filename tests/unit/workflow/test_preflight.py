"""What is said of a configuration before any job starts: one sentence with the file and the key."""

from copy import deepcopy

import pytest
import yaml

from tests.workflow.conftest import CASES, REPOSITORY
from thorax import config
from thorax.errors import ThoraxError
from thorax.workflow import preflight

TINY = yaml.safe_load((CASES / "tiny" / "config.yaml").read_text(encoding="utf-8"))
PAPERS = yaml.safe_load((REPOSITORY / "config.yaml").read_text(encoding="utf-8"))


def changed(values: dict, *path_and_value) -> dict:
    """A copy of a configuration with one key changed; the last argument is the value, None removes the key."""
    *path, last, value = path_and_value
    values = deepcopy(values)
    block = values
    for key in path:
        block = block[key]
    if value is None:
        del block[last]
    else:
        block[last] = value
    return values


def sentence(values: dict) -> str:
    with pytest.raises(ThoraxError) as caught:
        preflight.read(values, "c.yaml")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_shipped_configurations_are_right():
    demo = yaml.safe_load((REPOSITORY / "demo" / "experiment.yaml").read_text(encoding="utf-8"))
    for values, source in ((PAPERS, "config.yaml"), (TINY, "tiny"), (demo, "demo")):
        assert preflight.read(values, source).run == values["run"]


@pytest.mark.parametrize(
    ("path_and_value", "said"),
    [
        (
            ("splits", "tiny-pa", "keep", "data/old.csv"),
            "splits.tiny-pa.keep: data/old.csv is not there: put the file there or",
        ),
        (
            ("experiments", "tiny", "members", "first", {"weights": {"bundle": "data/nih.zip"}}),
            "experiments.tiny.members.first.weights.bundle: data/nih.zip is not there: put the file there or correct the path.",
        ),
    ],
)
def test_a_file_that_a_run_begins_with_is_looked_for_at_once(tmp_path, monkeypatch, path_and_value, said):
    monkeypatch.chdir(tmp_path)
    values = changed(TINY, *path_and_value)
    assert sentence(values).startswith(f"c.yaml: {said}")
    (tmp_path / "data").mkdir()
    for name in ("old.csv", "nih.zip"):
        (tmp_path / "data" / name).touch()
    assert preflight.read(values, "c.yaml").run == ["tiny"]


TINY_DATA = {"archive": "padchest", "root": "data/tiny", "phantom": {"patients": 61}}


@pytest.mark.parametrize(
    ("path_and_value", "key", "words"),
    [
        (("experiments", "tiny", "titel", "x"), "experiments.tiny", ": unknown key 'titel' (did you mean 'title'?)"),
        (
            ("experiments", "tiny", "label_set", "unknown"),
            "experiments.tiny.label_set",
            ": 'unknown' is not in label_sets: tiny-s",
        ),
        (
            ("experiments", "tiny", "training", "epochs", 0),
            "experiments.tiny.training.epochs",
            ": Input should be greater than",
        ),
        (("experiments", "tiny", "members", "first", {"lr": 1}), "experiments.tiny.members.first", ": unknown key 'lr'"),
        (
            ("experiments", "tiny", "members", "first", {"backbone": "VGG"}),
            "experiments.tiny.members.first",
            ": backbone 'VGG' is",
        ),
        (
            ("experiments", "tiny", "members", "first", {"backbone": "Xception"}),
            "experiments.tiny.members.first",
            ": backbone Xception needs images of at least 71 pixels, not 32",
        ),
        (
            ("experiments", "tiny", "ensembles", {"CTP": {"rule": "ctp", "members": ["first", "fourth"]}}),
            "experiments.tiny.ensembles.CTP.members",
            ": 'fourth' is not a member",
        ),
        (
            ("experiments", "tiny", "ensembles", {"CTP": {"rule": "ctp", "members": ["first", "first"]}}),
            "experiments.tiny.ensembles.CTP.members",
            ": 'first' is named more than once",
        ),
        (("splits", "tiny-pa", "train", 0.9), "splits.tiny-pa", ": train + val + test must be 1, not 1.3"),
        (("label_sets", "tiny-specific", "min_images", "many"), "label_sets.tiny-specific.min_images", "(it is 'many')"),
        (("datasets", "more", TINY_DATA), "datasets.more.root", ": 'data/tiny' is also the root of datasets.tiny"),
        (("run", ["nothing"]), "run", ": 'nothing' is not in experiments: tiny"),
        (("run", ["tiny", "tiny"]), "run", ": 'tiny' is named more than once"),
        (("image_sets", None), "image_sets", "is missing; add it"),
    ],
)
def test_a_wrong_key_or_value_is_one_sentence(path_and_value, key, words):
    said = sentence(changed(TINY, *path_and_value)).removeprefix(f"c.yaml: {key}")
    assert said[0] in ": "  # the whole key, not the beginning of a longer one
    assert words in said


@pytest.mark.parametrize(
    ("path_and_value", "said"),
    [
        (
            ("experiments", "saturi2025", "exclusive", "No Findings"),
            "experiments.saturi2025.exclusive: 'No Findings' is not a class of label set 'chexpert-frontal' (did you mean 'No Finding'?): choose ",
        ),
        (
            ("experiments", "beltran2022", "exclusive", "No Finding"),  # which is excluded
            "experiments.beltran2022.exclusive: 'No Finding' is not a class of label set 'nih-14-grey': choose one of Atelectasis,",
        ),
        (
            ("experiments", "kejriwal-nih", "cooccurrence", ["Mass", "Noodle"]),
            "experiments.kejriwal-nih.cooccurrence: 'Noodle' is not a class of label set 'nih-",
        ),
        (
            ("label_sets", "nih-14", "exclude", ["NoFinding"]),
            "label_sets.nih-14.exclude: 'NoFinding' is not a specific label of archive nih (did you mean 'No Finding'?): choose one of ",
        ),
        (
            ("label_sets", "nih-15", "grouping", "general"),
            "label_sets.nih-15.grouping: archive 'nih' has no term tree, only padchest and chexpert have one: write specific",
        ),
        (
            ("experiments", "liz2022-general", "beside", "variant", "generals"),
            "experiments.liz2022-general.beside: No published numbers of variant 'generals' (did you mean 'general'?): choose one of ",
        ),
        (
            ("experiments", "liz2022-general", "beside", "paper", "liz"),
            "experiments.liz2022-general.beside: No published numbers of paper 'liz' (did you mean 'liz2022'?): choose one of ",
        ),
        (
            ("experiments", "kejriwal-nih", "beside", "models", {"ResNet50": "ResNets"}),
            "experiments.kejriwal-nih.beside: beside.models.ResNet50: kejriwal, attention has no model 'ResNets': choose one of ",
        ),
        (
            ("experiments", "beltran2022", "beside", "threshold_rule", "fixed-0.3"),
            "experiments.beltran2022.beside.threshold_rule: 'fixed-0.3' is not among the thresholds: fixed-0.4,",
        ),
        (
            ("experiments", "saturi2025", "members", "DenseNet121", {"backbone": "cnn"}),
            "experiments.saturi2025.members.DenseNet121: backbone cnn has no ImageNet weights: set weights: none.",
        ),
        (
            ("label_sets", "nih-15", "exclude", [name for name in preflight.FIXED_LABELS["nih"] if name != "Emphysema"]),
            "cross.chest-archives: the label sets of cross-padchest, cross-nih, cross-chexpert share no class of shared_classes.csv",
        ),
        (
            ("label_sets", "padchest-inside", "min_images", 1001),
            "cascades.liz2022-cascade: label set 'padchest-inside' leaves out classes of 'padchest-specific': lower its min_images to 1000.",
        ),
        (
            ("label_sets", "padchest-inside", "exclude", ["pneumonia"]),
            "cascades.liz2022-cascade: label set 'padchest-inside' excludes 'pneumonia', and 'padchest-specific' does not",
        ),
    ],
)
def test_a_name_that_another_file_defines_is_checked_at_once(path_and_value, said):
    values = deepcopy(PAPERS)
    if said.startswith("cross"):
        values["experiments"] = {name: block for name, block in values["experiments"].items() if name.startswith("cross")}
        values |= {"ablations": {}, "cascades": {}, "comparisons": {}, "run": []}
    assert sentence(changed(values, *path_and_value)).startswith(f"c.yaml: {said}")


def test_no_model_of_ours_is_one_of_the_paper():
    values = changed(PAPERS, "experiments", "liz2022-general", "ensembles", {})
    values["experiments"]["liz2022-general"]["members"] = {"mine": {"backbone": "Xception"}}
    values |= {"cascades": {}}
    said = sentence(values)
    assert said.startswith(
        "c.yaml: experiments.liz2022-general.beside.models: no member or ensemble has the name of a model of liz2022"
    )


OWN = {
    "datasets": {"mine": {"archive": "own", "root": "", "views": ["PA"]}},
    "label_sets": {
        "findings": {"dataset": "mine", "min_images": 2, "exclude": ["No Finding"], "without_class": "keep_labelled"}
    },
    "splits": {"patients": {"label_sets": ["findings"]}},
    "image_sets": {"small": {"dataset": "mine", "size": 32}},
    "experiments": {
        "first": {
            "title": "t",
            "label_set": "findings",
            "split": "patients",
            "image_set": "small",
            "members": {"cnn": {"backbone": "cnn", "weights": "none"}},
        },
    },
    "run": ["first"],
}


@pytest.mark.parametrize(
    ("path_and_value", "said"),
    [
        (("exclusive", "Effusion"), None),
        (
            ("exclusive", "Nodules"),
            "experiments.first.exclusive: 'Nodules' is not a class of label set 'findings' (did you mean 'Nodule'?)",
        ),
        (
            ("exclusive", "No Finding"),
            "experiments.first.exclusive: 'No Finding' is not a class of label set 'findings' (excluded)",
        ),
        (
            ("cooccurrence", ["Mass"]),
            "experiments.first.cooccurrence: 'Mass' is not a class of label set 'findings' (too few images)",
        ),
    ],
)
def test_the_classes_of_an_archive_that_is_here_are_counted_before_the_first_job(tmp_path, path_and_value, said):
    labels = ["Effusion", "Effusion|Mass", "No Finding", "Nodule", "Nodule|Effusion", "No Finding"]
    rows = [f"{number}.png,p{number},{text},PA" for number, text in enumerate(labels)]
    (tmp_path / "images.csv").write_text("\n".join(["path,patient_id,labels,view", *rows, "9.png,p9,Mass,L"]) + "\n")
    values = changed(OWN, "experiments", "first", *path_and_value)
    values["datasets"]["mine"]["root"] = str(tmp_path)
    study = preflight.read(values, "c.yaml")
    if said is None:
        preflight.check_label_sets(study, ["findings"])
    else:
        with pytest.raises(ThoraxError) as caught:
            preflight.check_label_sets(study, ["findings"])
        assert str(caught.value).startswith(said)


MADE = """\
class,images,patients,uncertain,status,in_tree
Effusion,3,3,0,kept,
NA,2,2,0,kept,
Mass,1,1,0,too few images,
(without labels),1,1,,kept as negative,
(label set),5,5,,kept,
"""


@pytest.mark.parametrize(
    ("exclusive", "said"),
    [
        ("Effusion", None),
        ("NA", None),
        ("Efusion", "'Efusion' is not a class of label set 'findings' (did you mean 'Effusion'?)"),
        ("Mass", "'Mass' is not a class of label set 'findings' (too few images)"),
        ("(label set)", "'(label set)' is not a class of label set 'findings'"),
    ],
)
def test_the_classes_that_were_counted_earlier_are_compared_before_the_first_job(tmp_path, exclusive, said):
    values = changed(OWN, "experiments", "first", "exclusive", exclusive)
    values["datasets"]["mine"]["root"] = str(tmp_path)
    study = preflight.read(values, "c.yaml")
    (tmp_path / "findings.classes.csv").write_text(MADE)
    if said is None:
        preflight.check_made(study, "findings", tmp_path / "findings.classes.csv")
    else:
        with pytest.raises(ThoraxError) as caught:
            preflight.check_made(study, "findings", tmp_path / "findings.classes.csv")
        assert str(caught.value).startswith(f"experiments.first.exclusive: {said}")


def test_a_mistake_in_the_metadata_is_said_before_the_first_job_and_an_absent_archive_is_not_missed(tmp_path):
    values = changed(OWN, "datasets", "mine", "root", str(tmp_path))
    study = config.parse(config.Config, values, "c.yaml")
    preflight.check_label_sets(study, ["findings"])
    (tmp_path / "images.csv").write_text("path,patient id,labels\n1.png,p1,Mass\n")
    with pytest.raises(ThoraxError, match=r"images.csv, row 1, column 'patient id'"):
        preflight.check_label_sets(study, ["findings"])
