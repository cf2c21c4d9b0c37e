"""What can be told of a library for macOS without one: a reader of the file's own tables."""

import struct

__all__ = ["EXPORTED", "fault"]

EXPORTED = ("tflite_plugin_create_delegate", "tflite_plugin_destroy_delegate")

# From <mach-o/loader.h>.
_MAGIC, _ARM64, _DYLIB = 0xFEEDFACF, 0x0100000C, 6
_SYMBOL_TABLE, _SIGNATURE, _BUILD_VERSION = 0x2, 0x1D, 0x32
_HEADER = struct.Struct("<IIIIIIII")
_SYMBOL = struct.Struct("<IBBHQ")
_DEFINED_FOR_ALL = 0x0F  # N_SECT and N_EXT


def fault(library: bytes, macos: str) -> str:
    """What of a library keeps macOS from loading it as a delegate; empty for nothing.

    # Arguments
        library: Its bytes.
        macos: The oldest version that must load it, as "11.0".
    """
    if len(library) < _HEADER.size:
        return "is no Mach-O file"
    magic, processor, _, kind, count, *_ = _HEADER.unpack_from(library)
    if (magic, processor, kind) != (_MAGIC, _ARM64, _DYLIB):
        return "is no dynamic library for 64-bit ARM"
    commands, at = {}, _HEADER.size
    for _ in range(count):
        command, size = struct.unpack_from("<II", library, at)
        commands[command], at = at + 8, at + size
    if missing := {_SYMBOL_TABLE, _SIGNATURE, _BUILD_VERSION} - set(commands):
        return f"lacks load commands {', '.join(map(hex, sorted(missing)))}"
    oldest = struct.unpack_from("<II", library, commands[_BUILD_VERSION])[1]
    major, minor = map(int, macos.split("."))
    if oldest > major << 16 | minor << 8:
        return f"needs macOS {oldest >> 16}.{oldest >> 8 & 0xFF}"
    symbols, number, names, length = struct.unpack_from("<IIII", library, commands[_SYMBOL_TABLE])
    texts, found = library[names : names + length], set()
    for name, kind, *_ in _SYMBOL.iter_unpack(library[symbols : symbols + number * _SYMBOL.size]):
        if kind == _DEFINED_FOR_ALL:
            found.add(texts[name : texts.index(b"\0", name)].decode())
    absent = [name for name in EXPORTED if f"_{name}" not in found]
    return f"does not export {', '.join(absent)}" if absent else ""
