"""Tasks: what is to be done with the targets of the data, one file each.

A task says how many outputs a model has, which targets make sense, how outputs become decisions, and which figures
are drawn. Its YAML (`configs/task`) names the loss and the metrics that `auto` stands for, and what is monitored.
"""

from dltrain.tasks.adversarial import Adversarial
from dltrain.tasks.binary import Binary
from dltrain.tasks.classification import Classification
from dltrain.tasks.energy import Energy
from dltrain.tasks.generation import Generation
from dltrain.tasks.language import Language
from dltrain.tasks.reconstruction import Reconstruction
from dltrain.tasks.regression import Regression
from dltrain.tasks.segmentation import Segmentation
from dltrain.tasks.task import Generates, Level, Task

__all__ = [
    "Adversarial",
    "Binary",
    "Classification",
    "Energy",
    "Generates",
    "Generation",
    "Language",
    "Level",
    "Reconstruction",
    "Regression",
    "Segmentation",
    "Task",
]
