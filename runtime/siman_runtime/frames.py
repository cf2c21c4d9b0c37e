"""Where pictures come from one after the other: a camera, a video file or a folder."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from siman_runtime.errors import LibraryError
from siman_runtime.preparation import open_picture

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Source", "absent", "open_source"]

_SIZE = (640, 480)  # what cameras are asked for: networks take less
_SECONDS_OF_A_PICTURE = 1.0
_SECONDS_TO_WAIT = 5.0  # for a camera


class Source(Protocol):
    """What is open until it is closed."""

    def read(self) -> "Image.Image":
        """The next picture, when it is its turn; raises `OSError` or `ValueError`."""

    def close(self) -> None:
        """Frees the camera or file."""


def open_source(name: str) -> Source:
    """Opens a camera by its number, a video file or a folder of pictures.

    # Raises
        OSError, LibraryError: If it cannot be opened, or needs a package that is absent.
    """
    if name.isascii() and name.isdigit():
        return _open_camera(int(name))
    path = Path(name)
    if path.is_dir():
        return _Folder(path)
    if path.is_file():
        return _Video(path)
    raise FileNotFoundError(
        f"--camera {name}: there is no such file; the number of a camera, a video file and a "
        "folder of pictures are allowed."
    )


class _Turns:
    """When it is the next picture's turn."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._next = seconds, time.monotonic()

    def wait(self) -> int:
        """Waits for it; returns how many whole turns are lost."""
        late = time.monotonic() - self._next
        if late < 0:
            time.sleep(-late)
        lost = int(max(late, 0) / self._seconds)
        self._next += self._seconds * (lost + 1)
        return lost


class _Folder:
    """Its pictures in the order of their names, again and again, as they are by then."""

    def __init__(self, path: Path) -> None:
        self._path, self._turns = path, _Turns(_SECONDS_OF_A_PICTURE)
        self._waiting = self._pictures()

    def _pictures(self) -> "list[Path]":
        try:
            from PIL import Image
        except ImportError:
            raise absent("Pillow") from None
        known = Image.registered_extensions()
        found = [path for path in sorted(self._path.iterdir()) if path.suffix.lower() in known]
        if not found:
            raise FileNotFoundError(f"There is no picture that Pillow reads in {self._path}.")
        return found

    def read(self) -> "Image.Image":
        self._turns.wait()
        path = self._next()
        while not path.exists():
            path = self._next()
        return open_picture(path)

    def _next(self) -> Path:
        self._waiting = self._waiting or self._pictures()
        return self._waiting.pop(0)  # of a damaged one, too

    def close(self) -> None:
        pass


class _Video:
    """A video file, in its own time, again and again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._begin()
        rate = self._capture.get(_opencv().CAP_PROP_FPS)
        self._turns = _Turns(1 / rate if 0 < rate <= 1000 else 0.04)

    def _begin(self) -> None:
        self._capture = _opencv().VideoCapture(str(self._path))
        if not self._capture.isOpened():
            raise OSError(f"{self._path} is no video that OpenCV reads.")

    def read(self) -> "Image.Image":
        for _ in range(self._turns.wait()):
            self._capture.grab()
        is_read, pixels = self._capture.read()
        if not is_read:  # the end
            self.close()
            self._begin()
            is_read, pixels = self._capture.read()
        if not is_read:
            raise OSError(f"{self._path} holds no picture that OpenCV reads.")
        return _picture(pixels)

    def close(self) -> None:
        self._capture.release()


class _Camera:
    """A camera that the kernel knows, as those at USB."""

    def __init__(self, number: int) -> None:
        self._number, opencv = number, _opencv()
        self._capture = opencv.VideoCapture(number, opencv.CAP_V4L2)
        if not self._capture.isOpened():
            raise _unopened(number)
        self._capture.set(opencv.CAP_PROP_FRAME_WIDTH, _SIZE[0])
        self._capture.set(opencv.CAP_PROP_FRAME_HEIGHT, _SIZE[1])
        self._capture.set(opencv.CAP_PROP_BUFFERSIZE, 1)  # the newest, not the oldest

    def read(self) -> "Image.Image":
        is_read, pixels = self._capture.read()
        if not is_read:
            raise _gone(self._number)
        return _picture(pixels)

    def close(self) -> None:
        self._capture.release()


class _PiCamera:
    """A camera that libcamera knows, as the Raspberry Pi's own."""

    def __init__(self, number: int, picamera2: Any) -> None:
        self._number = number
        try:
            self._camera = picamera2.Picamera2(number)
        except (RuntimeError, IndexError):
            raise _unopened(number) from None
        # The name tells the order of bits: in memory it is red, green, blue.
        main = {"size": _SIZE, "format": "BGR888"}
        self._camera.configure(self._camera.create_video_configuration(main=main))
        self._camera.start()

    def read(self) -> "Image.Image":
        from PIL import Image

        try:
            job = self._camera.capture_array(wait=False)
            return Image.fromarray(self._camera.wait(job, timeout=_SECONDS_TO_WAIT))
        except (TimeoutError, RuntimeError):
            raise _gone(self._number) from None

    def close(self) -> None:
        self._camera.close()


def _open_camera(number: int) -> Source:
    """By libcamera if it has that camera, and not by both."""
    try:
        import picamera2
    except ImportError:
        return _Camera(number)
    if number < len(picamera2.Picamera2.global_camera_info()):
        return _PiCamera(number, picamera2)
    return _Camera(number)


def _unopened(number: int) -> OSError:
    return OSError(
        f"Camera {number} cannot be opened: it is absent, or another program uses it; --camera "
        "takes another number, a video file or a folder of pictures."
    )


def _gone(number: int) -> OSError:
    return OSError(f"Camera {number} gives no more pictures: is it still plugged in?")


def absent(package: str) -> LibraryError:
    """What to say of a package that is not there."""
    return LibraryError(f'{package} is needed: pip install "siman-runtime[camera]"')


def _opencv() -> Any:
    os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")  # what is wrong is one sentence of ours
    try:
        import cv2
    except ImportError:
        raise absent("OpenCV") from None
    return cv2


def _picture(pixels: Any) -> "Image.Image":
    from PIL import Image

    return Image.fromarray(pixels[..., ::-1].copy())  # OpenCV has blue first
