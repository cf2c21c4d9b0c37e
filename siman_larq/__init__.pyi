from . import analysis as analysis
from . import data as data
from . import models as models
from . import training as training
from . import zoo as zoo
from .bits import BinaryFileError as BinaryFileError
from .bits import load_binary as load_binary
from .bits import save_binary as save_binary
from .callbacks import ClipAnnealing as ClipAnnealing
from .checks import check_no_l2 as check_no_l2
from .constraints import PercentileClip as PercentileClip
from .conversion import ConversionError as ConversionError
from .conversion import OutputReport as OutputReport
from .conversion import Report as Report
from .conversion import SmallMapWarning as SmallMapWarning
from .conversion import convert as convert
from .conversion import verify as verify
from .layers import SiMaNConv2D as SiMaNConv2D
from .quantizers import SampleSign as SampleSign
from .quantizers import SiMaNQuantizer as SiMaNQuantizer

__version__: str

def register() -> None: ...
