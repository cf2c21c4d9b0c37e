"""`siman-camera`: its page over HTTP, in a browser where there is one, and cameras that are not."""

import contextlib
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import types
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from test_isolated import children_of
from test_run import SETTINGS, model_with
from tflite_models import Convolution

from siman_runtime import frames, watching
from siman_runtime.camera import main
from siman_runtime.run import main as siman_run

image_module = pytest.importorskip("PIL.Image")
pytest.importorskip("tornado")

SECONDS = 120  # until what must come has come, on a busy machine

needs_processes = pytest.mark.usefixtures("starts_python")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two models, and a picture in a folder of pictures."""
    monkeypatch.chdir(tmp_path)
    op = Convolution(height=12, width=10, channels=3, filters=6, kernel=(12, 10), padding=1)
    op.multiplier, op.bias = op.multiplier / 30, op.bias / 9  # no class is all
    settings = SETTINGS | {"class_names": ["a", "b", "c", "d", "e", "<f>"]}
    Path("model.tflite").write_bytes(model_with(settings, op=op))
    Path("bare.tflite").write_bytes(model_with(None))
    Path("pictures").mkdir()
    pixels = np.random.default_rng(3).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    pixels[:4] = (200, 30, 90)
    image_module.fromarray(pixels).save("pictures/one.png")
    Path("pictures/notes.txt").write_text("no picture")
    return tmp_path


@pytest.fixture
def video(folder):
    """Some frames that are the picture, in a file without losses."""
    cv2 = pytest.importorskip("cv2")
    pixels = np.asarray(image_module.open("pictures/one.png"))
    writer = cv2.VideoWriter("video.avi", cv2.VideoWriter_fourcc(*"FFV1"), 30, (32, 24))
    for _ in range(7):
        writer.write(np.ascontiguousarray(pixels[..., ::-1]))
    writer.release()
    return "video.avi"


@contextlib.contextmanager
def running(source, *flags):
    """The command as a process; gives it, and its page's address."""
    command = [sys.executable, "-m", "siman_runtime.camera", "model.tflite", "--port", "0"]
    command += ["--camera", source, *flags]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            lines = [process.stdout.readline() for _ in range(2)]
            assert re.fullmatch(r"http://127.0.0.1:\d+/\n", lines[1]), lines
            yield process, lines[1].strip()
        finally:
            process.kill()


def events(url):
    with urllib.request.urlopen(f"{url}events", timeout=SECONDS) as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        for line in response:
            if line.startswith(b"data: "):
                yield json.loads(line[6:])


def table(capsys) -> "list[list[str]]":
    """What siman-run says of the picture: shares and names of five classes."""
    siman_run(["model.tflite", "pictures/one.png"])
    return [[r.split()[0], r.split()[2]] for r in capsys.readouterr().out.splitlines()[3:]]


@needs_processes
@pytest.mark.parametrize("kind", ["pictures", "video"])
def test_the_page_says_what_siman_run_says(folder, request, capsys, kind):
    source = request.getfixturevalue("video") if kind == "video" else "pictures"
    expected = table(capsys)
    with running(source) as (process, url):
        seen = events(url)
        told = [next(seen) for _ in range(2)]
        assert [[g["text"].split()[0], g["label"]] for g in told[1]["best"]] == expected
        assert 0.9 < sum(g["share"] for g in told[0]["best"]) < 1
        assert told[1]["milliseconds"] > 0
        assert told[1]["rate"] > 0
        assert told[1]["error"] == ""
        with urllib.request.urlopen(f"{url}stream", timeout=SECONDS) as stream:
            assert stream.headers["Content-Type"].startswith("multipart/x-mixed-replace")
            lines = [stream.readline().strip() for _ in range(4)]
            assert lines[:2] == [b"--picture", b"Content-Type: image/jpeg"]
            content = stream.read(int(lines[2].split()[1]))
        shown = image_module.open(io.BytesIO(content))
        assert shown.size == (32, 24)
        np.testing.assert_allclose(shown.getpixel((16, 1)), (200, 30, 90), atol=25)
        with urllib.request.urlopen(url, timeout=SECONDS) as page:
            assert b"<title>siman-camera</title>" in page.read()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=SECONDS) == 0
        assert process.stdout.read() == ""


@needs_processes
def test_only_this_machine(folder):
    with running("pictures") as (_, url):
        other = urllib.request.Request(url, headers={"Host": "example.org"})
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(other, timeout=SECONDS)
        port = int(url.rsplit(":")[-1].strip("/"))
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", port), timeout=SECONDS)


@needs_processes
def test_a_source_that_goes_and_comes_back(folder):
    """One sentence on the page and in the terminal, and then pictures again."""
    with running("pictures") as (process, url):
        seen = events(url)
        assert next(seen)["best"]
        os.rename("pictures/one.png", "elsewhere.png")
        sentence = "There is no picture that Pillow reads in pictures."
        assert next(view for view in seen if view["error"])["error"] == sentence
        assert process.stdout.readline() == sentence + "\n"
        os.rename("elsewhere.png", "pictures/one.png")
        assert next(view for view in seen if not view["error"])["best"]


@needs_processes
def test_a_model_whose_process_dies_ends_the_command(folder):
    """It would say so for ever; what started the command may start it again."""
    with running("pictures", "--isolated") as (process, url):
        assert next(events(url))["best"]
        (model,) = children_of(process.pid)
        os.kill(model, signal.SIGSEGV)
        assert process.wait(timeout=SECONDS) == 1
        told = "siman-camera: The model's process crashed (SIGSEGV).\n"
        assert process.stdout.read() == told


# Label, text and share of the bar's width that each row shows.
ROWS = """[...document.querySelectorAll("li")].map(row => {
  const width = selector => row.querySelector(selector).getBoundingClientRect().width
  return [...[...row.querySelectorAll("span")].map(span => span.innerText),
          width(".bar div") / width(".bar")]
})"""


@needs_processes
def test_in_a_browser(video, capsys):
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium: apt-get install chromium")
    expected = table(capsys)
    with running(video) as (process, url), playwright.sync_playwright() as opened:
        browser = opened.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(1000 * SECONDS)
        page.goto(url)
        page.wait_for_selector("li")
        page.wait_for_function("document.getElementById('picture').naturalWidth > 0")
        labels, texts, shares = zip(*page.evaluate(ROWS), strict=True)
        assert [[t.split()[0], label] for t, label in zip(texts, labels, strict=True)] == expected
        np.testing.assert_allclose(shares, [float(share) / 100 for share, _ in expected], atol=0.02)
        figures = page.inner_text("#figures")
        assert re.fullmatch(r"\d+\.\d ms, \d+\.\d frames per second", figures), figures
        # The picture's upper edge, as the screen has it.
        screen = page.locator("#picture").screenshot(type="png")
        shown = image_module.open(io.BytesIO(screen)).convert("RGB")
        pixel = shown.getpixel((shown.width // 2, shown.height // 24))
        np.testing.assert_allclose(pixel, (200, 30, 90), atol=25)
        process.terminate()
        page.wait_for_function("document.getElementById('error').textContent.includes('has ended')")
        browser.close()


class Devices:
    """Stands for OpenCV and picamera2: cameras that give a number of red pictures each time they
    are opened, if they can be."""

    CAP_V4L2 = CAP_PROP_FRAME_WIDTH = CAP_PROP_FRAME_HEIGHT = CAP_PROP_BUFFERSIZE = 0

    def __init__(self, pictures: int, channels: int) -> None:
        self.open = self.most_open = self.opened = 0
        self.pictures, self.red = pictures, np.eye(3, dtype=np.uint8)[channels] * 255
        devices = self

        class Device:
            def __init__(self, *_):
                devices.open += 1
                devices.opened += 1
                devices.most_open = max(devices.most_open, devices.open)
                self.left = devices.pictures

            def isOpened(self):  # noqa: N802
                return devices.opened <= 3

            def set(self, *_):
                pass

            def read(self):
                self.left -= 1
                return self.left >= 0, np.tile(devices.red, (24, 32, 1))

            def release(self):
                devices.open -= 1

            close = release

            @staticmethod
            def global_camera_info():
                return [{}]

            def create_video_configuration(self, main):
                assert main["format"] == "BGR888"

            def configure(self, _):
                pass

            def start(self):
                pass

            def capture_array(self, wait):
                assert not wait

            def wait(self, _, timeout):
                is_read, pixels = self.read()
                if not is_read:
                    raise TimeoutError
                return pixels

        self.VideoCapture = self.Picamera2 = Device


@pytest.mark.parametrize("library", ["cv2", "picamera2"])
def test_a_camera_that_disappears(monkeypatch, library):
    """It is closed before it is opened again, and no other library has it, too."""
    devices = Devices(pictures=3, channels=2 if library == "cv2" else 0)
    none = types.ModuleType("cv2")
    monkeypatch.setitem(sys.modules, "cv2", devices if library == "cv2" else none)
    monkeypatch.setitem(sys.modules, "picamera2", None if library == "cv2" else devices)
    monkeypatch.setattr(watching, "_PAUSE", 0.0)
    seen = []

    class Classifier:
        def prepared(self, picture):
            return np.asarray(picture)

        def scores(self, values):
            np.testing.assert_array_equal(values[0, 0], (255, 0, 0))
            return values

        def best(self, scores, count):
            return ["red"]

    def show(view):
        seen.append(view.error or view.best[0])
        if len(seen) == 9:
            watcher.end()

    watcher = watching.Watcher(Classifier(), "0", show)
    watcher.run()
    gone = "Camera 0 gives no more pictures: is it still plugged in?"
    assert seen == (["red"] * 3 + [gone]) * 2 + ["red"]
    assert (devices.most_open, devices.open) == (1, 0)


def test_errors_of_other_kinds_are_a_sentence(folder, monkeypatch):
    """And the next picture has its turn."""
    monkeypatch.setattr(watching, "_PAUSE", 0.0)
    errors = [MemoryError(), type("error", (Exception,), {})("OpenCV:\n(-215) assertion\n")]
    seen = []

    class Classifier:
        def prepared(self, picture):
            return picture

        def scores(self, values):
            if errors:
                raise errors.pop(0)
            return values

        def best(self, scores, count):
            return ["seen"]

    def show(view):
        seen.append(view.error or view.best[0])
        if len(seen) == 3:
            watcher.end()

    watcher = watching.Watcher(Classifier(), "pictures", show)
    watcher.run()
    assert seen == ["out of memory", "error: OpenCV: (-215) assertion", "seen"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bare.tflite"], "bare.tflite does not say how its pictures were prepared"),
        (["absent.tflite"], "There is no model at absent.tflite"),
        (["model.tflite", "--threads", "0"], "num_threads=0"),
        (["model.tflite", "--port", "65536"], "--port 65536: 0 to 65535 is allowed"),
        (["model.tflite", "--host", "1.2.3.4"], "--host 1.2.3.4 --port 8000: Cannot assign"),
        (["model.tflite", "--camera", "x.mp4"], "--camera x.mp4: there is no such file"),
        (["model.tflite", "--camera", "empty"], "There is no picture that Pillow reads in empty"),
        (["model.tflite", "--camera", "bare.tflite"], "bare.tflite is no video that OpenCV reads"),
        (["model.tflite", "--camera", "987"], "Camera 987 cannot be opened: it is absent, or"),
    ],
)
def test_errors(folder, arguments, message):
    Path("empty").mkdir()
    if "OpenCV" in message or "987" in message:
        pytest.importorskip("cv2")
    if "--port" not in arguments and "--host" not in arguments:
        arguments = [*arguments, "--port", "0"]
    with pytest.raises(SystemExit, match=message) as raised:
        main(arguments)
    assert raised.value.code.startswith("siman-camera: ")
    assert "\n" not in raised.value.code


@pytest.mark.parametrize(("module", "name"), [("cv2", "OpenCV"), ("tornado", "Tornado")])
def test_packages_that_are_absent(folder, monkeypatch, module, name):
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, "siman_runtime.page", raising=False)
    message = rf'{name} is needed: pip install "siman-runtime\[camera\]"'
    with pytest.raises(SystemExit, match=message):
        main(["model.tflite", "--camera", "bare.tflite", "--port", "0"])


def test_a_damaged_picture_has_its_turn(folder):
    Path("pictures/broken.png").write_bytes(b"no picture")
    source = frames.open_source("pictures")
    with pytest.raises(ValueError, match="broken.png is no picture that Pillow reads"):
        source.read()
    assert source.read().size == (32, 24)
