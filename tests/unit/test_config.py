"""The schema: shipped files are valid, the generated reference is up to date, every key is explained."""

from pathlib import Path

import pytest
import yaml

from thorax import config, config_reference
from thorax.errors import ThoraxError

ROOT = Path(__file__).parents[2]


def test_reference_is_up_to_date(tmp_path):
    config_reference.write_reference(tmp_path)
    for name in ("configuration.md", "config.schema.json"):
        assert (tmp_path / name).read_text() == (ROOT / "docs" / name).read_text(), "run: thorax config-reference --out docs"


def test_every_key_is_explained():
    for model in config_reference.SECTIONS.values():
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
    assert study.experiments["demo-liz2022-specific"].data == "phantom"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{archive: padchest}", r"x: root is missing; add it\."),
        ("{archive: mimic, root: a}", r"x: archive: .*'padchest' or 'nih' \(it is 'mimic'\)\."),
        ("{archive: nih, root: a, shard: 2}", r"x: shard is not a known key"),
        ("{archive: [", r"x is not valid YAML"),
    ],
)
def test_errors_are_one_sentence(text, sentence):
    with pytest.raises(ThoraxError, match=sentence) as caught:
        config.parse_text(config.Dataset, text, "x")
    assert "\n" not in str(caught.value)
