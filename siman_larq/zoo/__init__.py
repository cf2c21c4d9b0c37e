"""Larq Zoo's models, and any other Larq model, in SiMaN form."""

from siman_larq.zoo import factories as _factories
from siman_larq.zoo import functions as _functions
from siman_larq.zoo.binarize import BinarizeError, BinarizeWarning, binarize
from siman_larq.zoo.factories import *  # noqa: F403
from siman_larq.zoo.factory import SiMaNFactory
from siman_larq.zoo.functions import *  # noqa: F403

__all__ = ["BinarizeError", "BinarizeWarning", "SiMaNFactory", "binarize"]
__all__ += _factories.__all__
__all__ += _functions.__all__
