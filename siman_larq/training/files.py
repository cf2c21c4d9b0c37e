"""Where `siman_larq.files` was, for what still names it so."""

from siman_larq.files import PARTIAL, first_line, write_atomically

__all__ = ["PARTIAL", "first_line", "write_atomically"]
