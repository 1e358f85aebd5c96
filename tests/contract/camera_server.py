"""An HTTP camera of the tests, with the manners and the faults of real ones."""

from __future__ import annotations

import base64
import contextlib
import io
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from perch_process import ROOT
from PIL import Image

DATA = ROOT / "tests" / "data"

def jpeg(grey: int, size: tuple[int, int] = (320, 240)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (grey, grey, grey)).save(out, "JPEG")
    return out.getvalue()


class CameraServer(ThreadingHTTPServer):
    """Serves until closed. `grey` is how bright its picture is now; `asked` counts requests by path.

    While it `is_mortal`, `/mortal` ends each stream in the middle of the third picture.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int = 0, certificate: str = ""):
        """Over TLS where a file with a certificate and its key is named."""
        self.grey = 200
        self.is_mortal = True
        self.asked: dict[str, int] = {}
        self.last_headers: dict[str, str] = {}
        self.open = True
        super().__init__(("127.0.0.1", port), Handler)
        self.port = self.server_address[1]
        self.url = f"http{'s' if certificate else ''}://127.0.0.1:{self.port}"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self):
        """No new connection, and those that are there end."""
        self.open = False
        self.shutdown()
        self.server_close()

    def handle_error(self, *_):
        pass  # clients come and go


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: CameraServer

    def log_message(self, *_):
        pass

    def do_GET(self):
        camera = self.server
        path = self.path.split("?")[0]
        camera.asked[path] = camera.asked.get(path, 0) + 1
        camera.last_headers = dict(self.headers)
        with contextlib.suppress(OSError):
            getattr(self, "get" + path.replace("/", "_").replace(".", "_"), self.get_nothing)()

    def head(self, status: int = 200, **headers: str):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def get_nothing(self):
        self.head(404, Content_Length="0")

    # ---- pictures

    def get_one_jpg(self):
        picture = jpeg(self.server.grey)
        self.head(Content_Type="image/jpeg", Content_Length=str(len(picture)))
        self.wfile.write(picture)

    def parts(self, write):
        self.close_connection = True
        self.head(Content_Type="multipart/x-mixed-replace; boundary=--frame")
        while self.server.open:
            write(jpeg(self.server.grey))
            time.sleep(1 / 20)  # its rate

    def get_stream(self):
        def write(picture):
            self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(picture), picture))

        self.parts(write)

    def get_sloppy(self):
        """No length, a wrong one, lines ended by one character, and every other picture cut short."""

        def write(picture):
            self.wfile.write(b"--frame\nContent-Length: 7\n\n" + picture[: len(picture) // 2])
            self.wfile.write(b"\nframe\n\n" + picture)

        self.parts(write)

    def get_breaks(self):
        """Ends in the middle of the third picture."""
        self.close_connection = True
        self.head(Content_Type="multipart/x-mixed-replace; boundary=frame")
        for part in (jpeg(200), jpeg(200), jpeg(200)[:400]):
            self.wfile.write(b"--frame\r\n\r\n" + part + b"\r\n")

    def get_mortal(self):
        return self.get_breaks() if self.server.is_mortal else self.get_stream()

    def get_silent(self):
        """One picture, then nothing."""
        self.close_connection = True
        self.head(Content_Type="multipart/x-mixed-replace; boundary=frame")
        self.wfile.write(b"--frame\r\n\r\n" + jpeg(200) + b"\r\n")
        while self.server.open:
            time.sleep(0.05)

    # ---- videos

    def video(self, name: str):
        data = (DATA / name).read_bytes()
        self.head(Content_Type="video/mp4", Content_Length=str(len(data)))
        self.wfile.write(data)

    def get_main_mp4(self):
        self.video("main.mp4")

    def get_fragmented_mp4(self):
        self.video("fragmented.mp4")

    def get_bframes_mp4(self):
        """Its index comes last."""
        self.video("bframes.mp4")

    def get_live_m3u8(self):
        self.head(Content_Type="application/vnd.apple.mpegurl", Content_Length="7")
        self.wfile.write(b"#EXTM3U")

    def get_live_ts(self):
        self.head(Content_Type="video/mp2t", Content_Length="1")
        self.wfile.write(b"G")

    # ---- faults

    def get_page(self):
        self.head(Content_Type="text/html", Content_Length="6")
        self.wfile.write(b"<html>")

    def get_round(self):
        self.head(302, Location="/round", Content_Length="0")

    def get_moved(self):
        self.head(302, Location="/stream", Content_Length="0")

    def get_elsewhere(self):
        self.head(302, Location="file:///etc/passwd", Content_Length="0")

    def get_head(self):
        """A head that does not end."""
        self.close_connection = True
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while self.server.open:
            self.wfile.write(b"X-Filler: " + b"x" * 4000 + b"\r\n")

    def get_body(self):
        """A picture that does not end."""
        self.close_connection = True
        self.head(Content_Type="image/jpeg")
        self.wfile.write(b"\xff\xd8\xff\xfe\xff\xff")
        while self.server.open:
            self.wfile.write(b"\0" * 65536)

    def get_late(self):
        while self.server.open:
            time.sleep(0.05)

    def get_locked_jpg(self):
        if self.headers.get("Authorization") == "Basic " + base64.b64encode(b"me:s:cret@").decode():
            self.get_one_jpg()
        else:
            self.head(401, WWW_Authenticate='Basic realm="camera"', Content_Length="0")

    def get_to_locked(self):
        """To the same picture by another name of this machine, which is another host."""
        self.head(302, Location=f"http://localhost:{self.server.port}/locked.jpg", Content_Length="0")
