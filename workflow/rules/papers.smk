# What the rules call by its earlier names, until they call thorax.workflow.pages themselves
from thorax.workflow import pages as catalogue

told = lambda names: catalogue.studies(study, names)
papers = lambda: catalogue.papers(study)
sections = lambda paper: [{"page": page.path} for page in catalogue.sections(study, paper)]
paper_settings = lambda wildcards: catalogue.settings(study, wildcards.paper)
captions = lambda wildcards: []


def paper_pages():
    return [path for path in catalogue.wanted(study) if path.startswith(("results/papers/", "results/tables/overview"))]
