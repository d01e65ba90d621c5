"""The schema: shipped files are valid, the generated reference is up to date, every key is explained."""

from pathlib import Path

import pytest
import yaml

from thorax import config
from thorax.config import reference
from thorax.errors import ThoraxError
from thorax.models import backbones
from thorax.report import published_numbers

ROOT = Path(__file__).parents[3]


def test_reference_is_up_to_date(tmp_path):
    reference.write_reference(tmp_path)
    for name in ("configuration.md", "config.schema.json"):
        assert (tmp_path / name).read_text() == (ROOT / "docs" / "reference" / name).read_text(), (
            "run: thorax config-reference --out docs/reference"
        )


def test_every_key_is_explained():
    for model in reference.SECTIONS.values():
        for key, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{key}"


def test_the_paper_config_has_the_papers_settings():
    study = config.load(ROOT / "config.yaml")
    for name in ("liz2022-specific", "liz2022-general"):
        experiment = study.experiments[name]
        assert set(experiment.members) == {"DenseNet201", "EfficientNetB0", "InceptionV3", "InceptionResNetV2", "Xception"}
        training = experiment.member("Xception")  # Liz et al. 2022, Table 2 and section 3.3
        assert (training.learning_rate, training.batch_size, training.epochs, training.patience) == (1e-4, 32, 350, 25)
        assert (training.dense_units, training.dropout, training.min_delta, training.freeze) == (512, 0.2, 1e-3, 0.1)
        assert training.weights == "imagenet"
        augmentation = training.augmentation
        assert (augmentation.rotation, augmentation.width_shift, augmentation.shear, augmentation.zoom) == (45, 0.1, 0.1, 0.1)
        assert (augmentation.brightness, augmentation.channel_shift) == ((0.7, 1.1), 0.05)
        assert study.image_sets[experiment.image_set].size == 224
    assert study.label_sets["padchest-specific"].min_images == 1000


def test_the_demo_overlays_the_paper_config():
    merged = yaml.safe_load((ROOT / "config.yaml").read_text())
    demo = yaml.safe_load((ROOT / "demo" / "experiment.yaml").read_text())
    for key, block in demo.items():
        merged[key] = {**merged[key], **block} if isinstance(block, dict) else block
    study = config.parse(config.Config, merged, "demo")
    assert study.run == ["demo-liz2022-specific"]
    assert study.experiments["demo-liz2022-specific"].provenance == "phantom"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{archive: padchest}", r"x: root is missing; add it\."),
        ("{archive: mimic, root: a}", r"x: archive: .*'chexpert' or 'own' \(it is 'mimic'\); correct it\."),
        ("{archive: nih, root: a, shard: 2}", r"x: unknown key 'shard'"),
        ("{archive: [", r"x, line 1: not valid YAML"),
        ("{archive: nih, root: a, archive: own}", r"x: archive is written twice, in line 1; remove one of the two\."),
    ],
)
def test_errors_are_one_sentence(text, sentence):
    with pytest.raises(ThoraxError, match=sentence) as caught:
        config.parse_text(config.Dataset, text, "x")
    assert "\n" not in str(caught.value)


def changed(*path_and_value):
    """The configuration of the tiny run with one key changed."""
    *path, value = path_and_value
    settings = yaml.safe_load((ROOT / "tests" / "workflow" / "tiny" / "config.yaml").read_text())
    block = settings
    for key in path[:-1]:
        block = block[key]
    block[path[-1]] = value
    return settings


TINY_DATA = {"archive": "padchest", "root": "data/tiny", "phantom": {"patients": 60, "height": 256, "seed": 3}}
CNN = {"backbone": "cnn"}


@pytest.mark.parametrize(
    ("path_and_value", "sentence"),
    [
        (("datasets", "tiny.0", TINY_DATA), "datasets.tiny.0: a name starts with"),
        (("image_sets", 64, {"dataset": "tiny"}), "image_sets.64: a name is text; put it in quotes."),
        (("datasets", "more", {**TINY_DATA, "phantom": {"patients": 61}}), "datasets.more.root: 'data/tiny' is also the root"),
        (
            ("datasets", "more", {"archive": "padchest", "root": "data/tiny/"}),
            "datasets.more.root: 'data/tiny' is also the root",
        ),
        (
            ("datasets", "more", {"archive": "padchest", "root": "data/../data/tiny"}),
            "datasets.more.root: 'data/../data/tiny' is also the root",
        ),
        (("datasets", "more", {**TINY_DATA, "archive": "nih"}), "datasets.more.root: 'data/tiny' is also the root"),
        (("experiments", "tiny", "label_set", "unknown"), "experiments.tiny.label_set: 'unknown' is not in label_sets: tiny-s"),
        (("splits", "tiny-pa", "train", 0.9), "splits.tiny-pa: train + val + test must be 1, not 1.3"),
        (("label_sets", "tiny-specific", "min_images", "many"), "label_sets.tiny-specific.min_images: Input should be a valid"),
        (("run", ["nothing"]), "run: 'nothing' is not in experiments: tiny"),
        (("datasets", "tiny", "archive", "own"), "datasets.tiny: a phantom has the form of archive padchest, nih or chexpert"),
        (
            ("datasets", "more", {"archive": "chexpert", "root": "data/more", "phantom": {"patients": 30_000}}),
            "datasets.more: a phantom in CheXpert's form has at most 29999 patients",
        ),
        (("datasets", "tiny", "root", "data/{x}"), "datasets.tiny.root: a folder needs a name without { and }"),
        (
            ("splits", "tiny-pa", "label_sets", ["tiny-specific"] * 2),
            "splits.tiny-pa.label_sets: 'tiny-specific' is named more",
        ),
        (("splits", "tiny-pa", "seed", -1), "splits.tiny-pa.seed: Input should be greater than or equal to 0 (it is -1)"),
        (("segmenters", "tiny-lungs", "filters", [8, 0]), "segmenters.tiny-lungs.filters.1: Input should be greater than"),
        (("segmenters", "tiny-lungs", "filters", [2] * 8), "segmenters.tiny-lungs.size: 64 cannot be halved 7 times"),
        (("run", ["tiny", "tiny"]), "run: 'tiny' is named more than once"),
        (("experiments", "tiny", "members", "first", {"lr": 1}), "experiments.tiny.members.first: unknown key 'lr'"),
        (("experiments", "tiny", "members", "first", {"epochs": 0}), "experiments.tiny.members.first.epochs: Input should be"),
        (
            ("experiments", "tiny", "training", {**CNN, "epochs": 0}),
            "experiments.tiny.training.epochs: Input should be greater",
        ),
        (("experiments", "tiny", "training", {}), "experiments.tiny.members.first.backbone is missing"),
        (
            ("experiments", "tiny", "training", "augmentation", {"brightness": [1.1, 0.7]}),
            "experiments.tiny.training.augmentation.brightness: a range of factors is [low, high]",
        ),
        (
            ("experiments", "tiny", "training", "augmentation", {"brightness": [-1, 0.7]}),
            "experiments.tiny.training.augmentation.brightness: a range of factors is [low, high]",
        ),
        (
            ("experiments", "tiny", "training", "augmentation", {"rotation": float("inf")}),
            "experiments.tiny.training.augmentation.rotation: Input should be",
        ),
        (
            ("experiments", "tiny", "thresholds", ["f1"]),
            "experiments.tiny.thresholds: the first rule is the one of the paper's",
        ),
        (("experiments", "tiny", "thresholds", ["fixed-0.5"] * 2), "experiments.tiny.thresholds: 'fixed-0.5' is named more"),
        (
            ("experiments", "tiny", "thresholds", ["F1"]),
            "experiments.tiny.thresholds.0: 'F1' is not a threshold rule: write f1, f1_positive, youden",
        ),
        (
            ("experiments", "tiny", "thresholds", ["specificity-0.9"]),
            "experiments.tiny.thresholds: the first rule is the one of the paper's",
        ),
        (("experiments", "tiny", "groups", ["hospital"]), "experiments.tiny.groups.0: Input should be 'sex', 'age'"),
        (("experiments", "tiny", "thresholds", []), "experiments.tiny.thresholds: List should have at least 1 item"),
        (
            ("experiments", "tiny", "ensembles", "CTP", "members", ["first", "first"]),
            "experiments.tiny.ensembles.CTP.members: 'first' is named more than once",
        ),
        (
            ("experiments", "tiny", "ensembles", "CTP", "members", ["first", "x"]),
            "experiments.tiny.ensembles.CTP.members: 'x' is",
        ),
        (("experiments", "tiny", "members", "baseline", {}), "experiments.tiny.members.baseline: this name is kept"),
        (
            ("experiments", "tiny", "beside", {"paper": "liz2022", "variant": "specific", "models": {"x": "CTP"}}),
            "experiments.tiny.beside.models: 'x' is neither a member nor an ensemble",
        ),
        (
            ("experiments", "tiny", "beside", {"paper": "liz2022", "variant": "specific", "threshold_rule": "fixed-0.6"}),
            "experiments.tiny.beside.threshold_rule: 'fixed-0.6' is not among the thresholds: fixed-0.5, f1",
        ),
        (
            ("label_sets", "in", {"dataset": "tiny", "inside": "x"}),
            "label_sets.in.inside: 'x' is not in label_sets: tiny-specific, tiny-general, in",
        ),
        (
            ("label_sets", "in", {"dataset": "tiny", "inside": "tiny-specific"}),
            "label_sets.in.inside: 'tiny-specific' has no grouping: general",
        ),
        (
            ("label_sets", "in", {"dataset": "tiny", "inside": "tiny-general", "two_parents": "first"}),
            "label_sets.in.two_parents: must be 'all', as in 'tiny-general'",
        ),
        (
            ("label_sets", "in", {"dataset": "tiny", "inside": "tiny-general", "without_class": "keep"}),
            "label_sets.in: inside is for grouping: specific and takes the images",
        ),
        (
            ("ablations", {"both": {"title": "x", "experiments": ["tiny", "y"]}}),
            "ablations.both.experiments: 'tiny' has no published numbers",
        ),
        (
            ("splits", "tiny-pa", "test_on", "radiologists"),
            "splits.tiny-pa.test_on: archive 'padchest' has no images that radiologists labelled: use shares",
        ),
        (
            ("splits", "tiny-pa", {"label_sets": ["tiny-specific"], "official": True, "keep": "old.csv"}),
            "splits.tiny-pa: keep and official: true may put a patient into two parts: remove one of the two.",
        ),
        (
            ("splits", "tiny-pa", "keep", "./results/splits/tiny-pa.parquet"),
            "splits.tiny-pa.keep: results/splits/tiny-pa.parquet is made by this configuration: copy it",
        ),
        (
            ("experiments", "tiny", "members", "first", {"input_scaling": "none"}),
            "experiments.tiny.members.first: '32-lungs' holds 8-bit images",
        ),
    ],
)
def test_the_sentence_names_the_key_that_was_written(path_and_value, sentence):
    with pytest.raises(ThoraxError) as caught:
        config.parse(config.Config, changed(*path_and_value), "x.yaml")
    assert str(caught.value).startswith(f"x.yaml: {sentence}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("path_and_value", "sentence"),
    [
        (("datasets", "tiny", "rot", "x"), "datasets.tiny: unknown key 'rot' (did you mean 'root'?)"),
        (
            ("experiments", "tiny", "members", "first", {"Epochs": 1}),
            "experiments.tiny.members.first: unknown key 'Epochs' (did you mean 'epochs'?)",
        ),
        (("experiments", "tiny", "xyzzy", 1), "experiments.tiny: unknown key 'xyzzy'; remove it."),
        (("run", ["Tiny"]), "run: 'Tiny' is not in experiments: tiny (did you mean 'tiny'?)"),
        (
            ("experiments", "tiny", "ensembles", "CTP", "members", ["first", "Second"]),
            "experiments.tiny.ensembles.CTP.members: 'Second' is not a member: first, second, third (did you mean 'second'?)",
        ),
    ],
)
def test_a_misspelt_name_is_suggested(path_and_value, sentence):
    with pytest.raises(ThoraxError) as caught:
        config.parse(config.Config, changed(*path_and_value), "x.yaml")
    assert str(caught.value).startswith(f"x.yaml: {sentence}")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("VGG", "backbone 'VGG' is not known"),
        ("Xception", "backbone Xception needs images of at least 71 pixels, not 32: raise the image set's size."),
    ],
)
def test_a_backbone_that_cannot_be_had_is_named_by_its_member(name, sentence):
    study = config.parse(config.Config, changed("experiments", "tiny", "members", "first", {"backbone": name}), "x")
    with pytest.raises(ThoraxError) as caught:
        backbones.check(study, "x.yaml")
    assert str(caught.value).startswith(f"x.yaml: experiments.tiny.members.first: {sentence}")


def test_a_segmenter_taught_by_another_splits_patients_is_refused():
    settings = changed("splits", "other", {"label_sets": ["tiny-specific"], "seed": 1})
    settings["segmenters"]["tiny-lungs"]["train_patients_of"] = "other"
    with pytest.raises(ThoraxError, match=r"^x: experiments\.tiny\.image_set: .*'tiny-lungs' learns from .*'other'.*'tiny-pa'"):
        config.parse(config.Config, settings, "x")
    settings["segmenters"]["tiny-lungs"]["train_patients_of"] = None  # pairs of patients who are not in the archive
    assert config.parse(config.Config, settings, "x").run == ["tiny"]


@pytest.mark.parametrize("written", ["data/tiny/", "./data/tiny", "data//tiny"])
def test_a_root_is_written_as_snakemake_writes_it(written):
    study = config.parse(config.Config, changed("datasets", "tiny", "root", written), "x")
    assert study.datasets["tiny"].root == "data/tiny"


def test_a_sentence_that_says_what_to_do_says_it_once():
    with pytest.raises(ThoraxError, match=r"^x: root: there is no user nobody-of-this-name: write the folder itself\.$"):
        config.parse(config.Dataset, {"archive": "own", "root": "~nobody-of-this-name"}, "x")


def test_one_phantom_in_two_spellings_of_its_folder_is_refused():
    made = changed("run", ["tiny"])["datasets"]["tiny"]
    config.parse(config.Config, changed("datasets", "more", made), "x")
    with pytest.raises(
        ThoraxError, match=r"^x: datasets.more.root: it is the same folder as 'data/tiny': write it in that way\.$"
    ):
        config.parse(config.Config, changed("datasets", "more", {**made, "root": "data/../data/tiny"}), "x")


FOLDERS = [("datasets", "tiny", "root"), ("segmenters", "tiny-lungs", "pairs"), ("audit", "metadata")]


@pytest.mark.parametrize("key", FOLDERS)
@pytest.mark.parametrize("written", ["~/x", "$HOME/x", "${HOME}/x/", "$THORAX_TEST/x"])
def test_home_and_variables_are_expanded_in_every_folder(monkeypatch, key, written):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("THORAX_TEST", "~")
    settings = changed(*key, written) if key[0] != "audit" else {**changed("run", ["tiny"]), "audit": {"metadata": written}}
    study = config.parse(config.Config, settings, "x").model_dump()
    for name in key:
        study = study[name]
    assert study == "/home/me/x"


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ("$THORAX_UNSET/x", "there is no environment variable THORAX_UNSET: set it"),
        ("${THORAX_UNSET}/x", "there is no environment variable THORAX_UNSET: set it"),
        ("$THORAX_EMPTY/x", "the environment variable THORAX_EMPTY is empty: set it"),
        ("data/${THORAX_EMPTY}", "the environment variable THORAX_EMPTY is empty: set it"),
        ("~nobody-of-this-name/x", "there is no user nobody-of-this-name: write the folder itself"),
        ("data/~/x", "~ means a home folder only at the beginning"),
        ("", "it is empty: name a folder."),
        ("s3://bucket/x", "it is an address: copy the files into a folder and name that."),
        ("$(pwd)/x", "$( is not expanded: write $NAME for an environment variable, or the folder itself."),
        ("${HOME", "${ is not expanded: write"),
        ("${HOME:-b}/x", "there is no environment variable HOME:-b: set it"),
        ("`pwd`/x", "` is not expanded: write"),
        ("%USERPROFILE%/x", "%USERPROFILE% is not expanded: write"),
    ],
)
def test_a_folder_that_cannot_be_expanded_is_refused(monkeypatch, written, sentence):
    monkeypatch.setenv("THORAX_EMPTY", "")
    with pytest.raises(ThoraxError) as caught:
        config.parse(config.Config, changed("datasets", "tiny", "root", written), "x")
    assert str(caught.value).startswith(f"x: datasets.tiny.root: {sentence}")


def test_an_odd_name_is_not_a_variable():
    assert config.parse(config.Dataset, {"archive": "own", "root": "data/5$ each~"}, "x").root == "data/5$ each~"
    assert config.parse(config.Dataset, {"archive": "own", "root": "data/100%20%"}, "x").root == "data/100%20%"


@pytest.mark.parametrize(
    ("block", "text", "sentence"),
    [
        (config.Phantom, "{patients: 10, seed: yes}", "x: seed: it is true, as YAML reads yes and on: write a value"),
        (config.Dataset, "{archive: own, root: a, shards: on}", "x: shards: it is true, as"),
        (
            config.Dataset,
            "{archive: own, root: no}",
            "x: root: it is false, as YAML reads no and off: write a value, in quotes",
        ),
        (config.Dataset, "{archive: own, root: a, max_bad_share: off}", "x: max_bad_share: it is false, as"),
        (config.LabelSet, "{dataset: a, drop_channels: [3, yes]}", "x: drop_channels: it is true, as"),
    ],
)
def test_yes_and_no_are_not_numbers(block, text, sentence):
    with pytest.raises(ThoraxError) as caught:
        config.parse_text(block, text, "x")
    assert str(caught.value).startswith(sentence)


def test_threshold_rules_of_an_experiment():
    tuned = config.parse(config.Config, changed("experiments", "tiny", "thresholds", ["fixed-0.4", "f1"]), "x")
    assert tuned.experiments["tiny"].thresholds == ["fixed-0.4", "f1"]
    excluding = config.parse(config.Config, changed("experiments", "tiny", "exclusive", "normal"), "x").experiments["tiny"]
    assert (excluding.thresholds, excluding.exclusive) == (["fixed-0.5", "f1"], "normal")


def test_the_papers_ablation_differs_in_images_and_augmentation_alone():
    """Tables 4 to 9 of Liz et al. 2022: raw, cropped and normalised, and that with augmentation."""
    study = config.load(ROOT / "config.yaml")
    raw, plain, full = (study.experiments[name] for name in study.ablations["liz2022-preprocessing"].experiments)
    assert [experiment.beside.variant for experiment in (raw, plain, full)] == ["specific-raw", "specific-noaug", "specific"]
    assert (raw.split, raw.label_set) == (plain.split, plain.label_set) == (full.split, full.label_set)
    assert raw.members == plain.members == full.members
    assert raw.ensembles == plain.ensembles == full.ensembles
    assert plain.image_set == full.image_set
    image_set = study.image_sets[raw.image_set]
    assert (image_set.crop, image_set.intensity, image_set.size) == ("none", "stored", 224)
    assert full.member("Xception").augmentation is not None
    assert plain.member("Xception") == full.member("Xception").model_copy(update={"augmentation": None})
    changes = {"augmentation": None, "input_scaling": "none", "precision": "float32"}
    assert raw.member("Xception") == full.member("Xception").model_copy(update=changes)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"input_scaling": "unit"}, "needs input_scaling: none"),
        ({"augmentation": {}}, "set augmentation: null"),
        ({"precision": "auto"}, "set precision: float32"),
    ],
)
def test_stored_intensities_need_networks_that_take_them(changes, sentence):
    settings = yaml.safe_load((ROOT / "config.yaml").read_text())
    settings["experiments"]["liz2022-specific-raw"]["training"].update(changes)
    with pytest.raises(ThoraxError, match=rf"x: experiments\.liz2022-specific-raw\.members\.DenseNet201: .*{sentence}"):
        config.parse(config.Config, settings, "x")


def test_contrast_does_not_change_stored_intensities():
    with pytest.raises(ThoraxError, match="contrast changes the values that intensity: stored keeps"):
        config.parse(config.ImageSet, {"dataset": "x", "intensity": "stored", "contrast": "clahe"}, "x")


def test_an_ablation_compares_one_problem():
    settings = yaml.safe_load((ROOT / "config.yaml").read_text())
    settings["ablations"]["mixed"] = {"title": "x", "experiments": ["liz2022-specific", "liz2022-general"]}
    with pytest.raises(ThoraxError, match=r"ablations\.mixed\.experiments: 'liz2022-general' is of another label set"):
        config.parse(config.Config, settings, "x")


@pytest.mark.parametrize(
    ("experiments", "changes", "sentence"),
    [
        ({"liz2022-specific": ["CTP"], "liz2022-general": ["CTP"]}, {}, "'liz2022-general' has another label set than"),
        (
            {"liz2022-specific": ["CTP"], "liz2022-specific-raw": ["CTP"]},
            {"provenance": "sample"},
            "'liz2022-specific-raw' has another provenance",
        ),
        (
            {"liz2022-specific": ["CTP"], "liz2022-specific-raw": ["CTP"]},
            {"thresholds": ["fixed-0.4", "fixed-0.5"]},
            "'liz2022-specific-raw' has another first threshold rule",
        ),
        (
            {"liz2022-specific": ["CTP"], "liz2022-specific-raw": ["CTP"]},
            {"f1_metric": "f1_positive"},
            "'liz2022-specific-raw' has another f1 metric",
        ),
        ({"liz2022-specific": ["CTP"], "x": ["CTP"]}, {}, "'x' is not in experiments"),
        ({"liz2022-specific": ["CTP"]}, {}, "Dictionary should have at least 2 items"),
    ],
)
def test_a_comparison_is_of_one_problem(experiments, changes, sentence):
    settings = yaml.safe_load((ROOT / "config.yaml").read_text())
    settings["comparisons"] = {"both": {"title": "x", "experiments": experiments}}
    settings["experiments"]["liz2022-specific-raw"].update(changes)
    del settings["ablations"]
    with pytest.raises(ThoraxError, match=rf"^x: comparisons\.both\.experiments: {sentence}"):
        config.parse(config.Config, settings, "x")


def test_a_comparison_names_models_of_its_experiments():
    settings = yaml.safe_load((ROOT / "config.yaml").read_text())
    chosen = {"liz2022-specific": ["CTP", "Xception"], "liz2022-specific-raw": ["PTC-lw", "baseline"]}
    settings["comparisons"] = {"both": {"title": "x", "experiments": chosen}}
    assert config.parse(config.Config, settings, "x").comparisons["both"].experiments == chosen
    chosen["liz2022-specific-raw"] = ["ptc"]
    with pytest.raises(ThoraxError, match=r"comparisons\.both\.experiments\.liz2022-specific-raw: 'ptc' is not a model of"):
        config.parse(config.Config, settings, "x")


CASCADE = yaml.safe_load((ROOT / "tests" / "workflow" / "cascade" / "config.yaml").read_text())


def test_a_split_that_lists_the_general_label_set_serves_what_is_inside_it():
    study = config.parse(config.Config, CASCADE, "x")
    assert study.experiments["inside"].label_set not in study.splits["tiny-pa"].label_sets
    listed = {**CASCADE, "splits": {"tiny-pa": {"label_sets": ["tiny-general", "tiny-inside"]}}}
    with pytest.raises(
        ThoraxError, match=r"splits.tiny-pa.label_sets: 'tiny-inside' has the images of 'tiny-general': name that"
    ):
        config.parse(config.Config, listed, "x")
    without = {**CASCADE, "splits": {"tiny-pa": {"label_sets": ["tiny-specific"]}}, "run": []}
    without["experiments"] = {"inside": CASCADE["experiments"]["inside"]}
    with pytest.raises(
        ThoraxError, match=r"experiments.inside.split: 'tiny-pa' does not list label set 'tiny-general'; correct"
    ):
        config.parse(config.Config, {**without, "cascades": {}}, "x")


@pytest.mark.parametrize(
    ("name", "changes", "sentence"),
    [
        ("flat", {}, "cascades.flat: a cascade needs a name that no experiment has"),
        ("c", {"flat": "x"}, "cascades.c.flat: 'x' is not in experiments: flat, general, inside"),
        (
            "c",
            {"inside": "flat"},
            "cascades.c.inside: label set 'tiny-specific' of this experiment is not inside 'tiny-general'",
        ),
        ("c", {"flat": "inside"}, "cascades.c.flat: label set 'tiny-inside' of this experiment is not one of all specific"),
        ("c", {"models": ["CTP", "third"]}, "cascades.c.models: 'third' is not an ensemble of experiment 'general'"),
        ("c", {"models": ["CTP", "CTP"]}, "cascades.c.models: 'CTP' is named more than once"),
    ],
)
def test_a_cascade_is_of_a_general_an_inside_and_a_flat_experiment(name, changes, sentence):
    block = {**CASCADE["cascades"]["tiny-cascade"], **changes}
    with pytest.raises(ThoraxError) as caught:
        config.parse(config.Config, {**CASCADE, "cascades": {name: block}}, "x")
    assert str(caught.value).startswith(f"x: {sentence}")


def test_a_cascade_is_measured_on_the_patients_of_one_split():
    splits = {**CASCADE["splits"], "other": CASCADE["splits"]["tiny-pa"]}
    experiments = {**CASCADE["experiments"], "general": {**CASCADE["experiments"]["general"], "split": "other"}}
    with pytest.raises(
        ThoraxError, match=r"cascades.tiny-cascade.general: 'general' is of another split or provenance than 'flat'"
    ):
        config.parse(config.Config, {**CASCADE, "splits": splits, "experiments": experiments}, "x")


def test_two_views_differ_from_pa_alone_in_the_second_view_only():
    study = config.load(ROOT / "config.yaml")
    alone, both = (study.experiments[name] for name in ("padchest-pa-alone", "padchest-two-views"))
    assert both == alone.model_copy(update={"title": both.title, "second_image_set": "224-lateral"})
    assert list(study.comparisons["two-views"].experiments) == ["padchest-pa-alone", "padchest-two-views"]
    assert study.datasets["padchest"].views == ["PA"]  # what the papers need is ingested without laterals


@pytest.mark.parametrize(
    ("path_and_value", "sentence"),
    [
        (
            ("label_sets", "padchest-studies", "second", "nih"),
            "label_sets.padchest-studies.second: 'nih' is of another archive or root",
        ),
        (("label_sets", "padchest-studies", "second", "x"), "label_sets.padchest-studies.second: 'x' is not in datasets"),
        (
            ("datasets", "padchest-lateral", "views", ["L", "PA"]),
            "label_sets.padchest-studies.second: 'padchest-lateral' has view PA",
        ),
        (
            ("label_sets", "padchest-studies", "second", None),
            "experiments.padchest-two-views.second_image_set: label set 'padchest-studies' has one view per study",
        ),
        (
            ("experiments", "padchest-two-views", "second_image_set", "224-lungs"),
            "experiments.padchest-two-views.second_image_set: '224-lungs' is not of data set 'padchest-lateral'",
        ),
        (
            ("experiments", "padchest-two-views", "second_image_set", "x"),
            "experiments.padchest-two-views.second_image_set: 'x' is not in image_sets",
        ),
        (
            ("image_sets", "224-lateral", "size", 128),
            "experiments.padchest-two-views.second_image_set: '224-lateral' has another size or intensity than '224-lungs'",
        ),
    ],
)
def test_second_views_that_do_not_fit_are_refused(path_and_value, sentence):
    settings = yaml.safe_load((ROOT / "config.yaml").read_text())
    *path, key, value = path_and_value
    block = settings
    for name in path:
        block = block[name]
    block[key] = value
    with pytest.raises(ThoraxError) as caught:
        config.parse(config.Config, settings, "x")
    assert str(caught.value).startswith(f"x: {sentence}")


def test_heatmaps_are_of_the_members_of_one_mean():
    experiments = config.load(ROOT / "config.yaml").experiments
    for name, mean, number in (("saturi2025", "CTP", 5), ("kejriwal-nih", "average", 3), ("liz2022-specific", "CTP", 5)):
        experiment = experiments[name]
        assert experiment.mean == mean
        assert experiment.explained == experiment.ensembles[mean].members
        assert len(experiment.explained) == number
    assert (experiments["beltran2022"].mean, experiments["beltran2022"].explained) == (None, ["ResNet50"])


def test_the_paper_shows_its_three_classes_and_more_classes_than_cases_are_refused():
    settings = yaml.safe_load((ROOT / "config.yaml").read_text())
    experiment = settings["experiments"]["liz2022-specific"]
    assert experiment["case_classes"] == ["pacemaker", "pleural effusion", "normal"]  # Figures 7 to 9
    experiment["cases"] = 2
    with pytest.raises(ThoraxError, match=r"liz2022-specific\.case_classes: 3 classes need as many cases, but there are 2"):
        config.parse(config.Config, settings, "x")


def test_a_split_may_serve_further_label_sets_of_its_images_without_being_stratified_over_them():
    settings = yaml.safe_load((ROOT / "config.yaml").read_text())
    study = config.parse(config.Config, settings, "x")
    fifteen, before = study.experiments["beltran2022-fifteen"], study.experiments["beltran2022"]
    assert (fifteen.split, fifteen.exclusive) == (before.split, "No Finding")
    assert fifteen.label_set not in study.splits[fifteen.split].label_sets
    split = settings["splits"]["nih-official-grey"]
    for changed, sentence in (
        ([], r"experiments\.beltran2022-fifteen\.split: 'nih-official-grey' does not list label set 'nih-15-grey'"),
        (["nih-15-grey", "nih-14-grey"], r"also_for: 'nih-14-grey' is in label_sets as well: remove one"),
        (["nih-15-grey", "chexpert-14"], r"also_for: label sets that share a split must all be of one data set"),
        (["x"], r"also_for: 'x' is not in label_sets"),
    ):
        settings["splits"]["nih-official-grey"] = {**split, "also_for": changed}
        with pytest.raises(ThoraxError, match=sentence):
            config.parse(config.Config, settings, "x")


def test_published_numbers_named_in_the_paper_config_exist():
    for experiment in config.load(ROOT / "config.yaml").experiments.values():
        if experiment.beside is not None:
            named = set(published_numbers.published(experiment.beside)["model"])
            assert named >= set(experiment.beside.models)
            assert named & {*experiment.members, *experiment.ensembles}
            if experiment.beside.paper == "liz2022":
                assert named >= {*experiment.members, *experiment.ensembles} - {"stacked"}


def test_calibrated_heatmaps_need_one_model_that_a_scaling_is_fitted_to():
    given = {"title": "x", "label_set": "l", "split": "s", "image_set": "i", "heatmap_probability": "calibrated"}
    two = {"a": {"backbone": "cnn"}, "b": {"backbone": "cnn"}}
    assert config.Experiment(**given, members={"a": two["a"]}).mean is None
    assert config.Experiment(**given, members=two, ensembles={"CTP": {"rule": "ctp", "members": ["a", "b"]}}).mean == "CTP"
    with pytest.raises(ValueError, match="it needs an ensemble of rule ctp, as scaling is fitted to one model"):
        config.Experiment(**given, members=two)


def test_a_member_with_the_name_of_a_repeated_training_is_refused():
    settings = changed("experiments", "tiny", "repeats", 2)
    settings["experiments"]["tiny"]["members"]["first.2"] = {"seed": 9}
    with pytest.raises(
        ThoraxError, match=r"experiments\.tiny\.repeats: 'first.2' is the name of a repeated training: rename it"
    ):
        config.parse(config.Config, settings, "x")
