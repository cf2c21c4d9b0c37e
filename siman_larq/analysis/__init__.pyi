from .activations import LayerActivations as LayerActivations
from .activations import activations as activations
from .codes import LayerCode as LayerCode
from .codes import codes as codes
from .fits import Fits as Fits
from .fits import excess_kurtosis as excess_kurtosis
from .fits import fit as fit
from .log import CodeLog as CodeLog
