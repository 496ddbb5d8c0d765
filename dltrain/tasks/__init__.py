"""Tasks: how the targets of the data are used, one file each.

A task determines how many outputs a model has, which targets are valid, how outputs become predictions, and which
figures are drawn. Its YAML (`configs/task`) names the loss and the metrics that `auto` selects, and the monitored
metrics.
"""

from dltrain.tasks.adversarial import Adversarial
from dltrain.tasks.binary import Binary
from dltrain.tasks.classification import Classification
from dltrain.tasks.count import Count
from dltrain.tasks.energy import Energy
from dltrain.tasks.forecasting import Forecasting
from dltrain.tasks.generation import Generation
from dltrain.tasks.language import Language
from dltrain.tasks.multilabel import Multilabel
from dltrain.tasks.multitarget import Multitarget
from dltrain.tasks.ordinal import Ordinal
from dltrain.tasks.reconstruction import Reconstruction
from dltrain.tasks.regression import Regression
from dltrain.tasks.segmentation import Segmentation
from dltrain.tasks.task import Generates, Level, Task

__all__ = [
    "Adversarial",
    "Binary",
    "Classification",
    "Count",
    "Energy",
    "Forecasting",
    "Generates",
    "Generation",
    "Language",
    "Level",
    "Multilabel",
    "Multitarget",
    "Ordinal",
    "Reconstruction",
    "Regression",
    "Segmentation",
    "Task",
]
