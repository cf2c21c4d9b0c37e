from .entries import Stored as Stored
from .errors import BinaryFileError as BinaryFileError
from .file import read as read
from .load import load_binary as load_binary
from .save import save_binary as save_binary
from .save import stored_weights as stored_weights
