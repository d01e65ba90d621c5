"""Make a study from what a hospital has: a folder of radiographs and a table, in any form (`thorax init`)."""
