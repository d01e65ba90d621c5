import os
from pathlib import Path

from snakemake.exceptions import WorkflowError

from thorax.config import strict_yaml
from thorax.errors import ThoraxError

# A folder without a configuration of its own (--directory) takes the checkout's
own_config = Path("config.yaml").is_file() or workflow.overwrite_configfiles
CONFIGURATION = "config.yaml" if own_config else f"{workflow.basedir}/config.yaml"


def refuse_faulty_files(paths):
    """Read configuration files strictly: Snakemake takes the last of two equal keys, and names no file or line."""
    for path in paths:
        try:
            strict_yaml.read(os.path.relpath(path))
        except ThoraxError as error:
            raise WorkflowError(str(error))


if workflow.is_main_process:
    refuse_faulty_files([*filter(os.path.exists, [CONFIGURATION]), *workflow.configfiles])
