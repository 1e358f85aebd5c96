"""An RTSP server: GStreamer's, run by the system's Python, which has its bindings.

    rtsp_server.py PORT [USER PASSWORD]     streams /h264, /jpeg, /sound and /vp8 until it is ended

It says `ready` once it listens.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

PICTURE = "videotestsrc is-live=true pattern=smpte ! video/x-raw,format=I420,width=320,height=240,framerate=15/1"
STREAMS = {
    "/h264": f"( {PICTURE} ! openh264enc gop-size=15 complexity=low ! h264parse ! rtph264pay name=pay0 config-interval=-1 "
    "audiotestsrc is-live=true ! alawenc ! rtppcmapay name=pay1 )",
    "/jpeg": f"( {PICTURE} ! jpegenc ! rtpjpegpay name=pay0 )",
    "/sound": "( audiotestsrc is-live=true ! alawenc ! rtppcmapay name=pay0 )",
    "/vp8": f"( {PICTURE} ! vp8enc deadline=1 ! rtpvp8pay name=pay0 )",
}


def main(port: str, *credentials: str):
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    if credentials:
        auth = GstRtspServer.RTSPAuth()
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "viewer")
        auth.add_digest(*credentials, token)
        server.set_auth(auth)
    for path, pipeline in STREAMS.items():
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_launch(pipeline)
        factory.set_shared(True)
        if credentials:
            permissions = GstRtspServer.RTSPPermissions()
            permissions.add_permission_for_role("viewer", "media.factory.access", True)
            permissions.add_permission_for_role("viewer", "media.factory.construct", True)
            factory.set_permissions(permissions)
        server.get_mount_points().add_factory(path, factory)
    server.attach(None)
    print("ready", flush=True)
    GLib.MainLoop().run()


main(*sys.argv[1:])
