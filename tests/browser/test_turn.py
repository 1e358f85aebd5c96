"""Viewers that only a TURN server brings together with perch; and ICE servers that are no help."""

import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]

from turn_server import PASSWORD, USER, TurnServer  # noqa: E402

# The browser goes through its own relay alone.
ONLY_ITS_RELAY = """
const Native = RTCPeerConnection;
window.RTCPeerConnection = class extends Native {
  constructor(settings) { super({...settings, iceTransportPolicy: 'relay'}); }
};
"""
# And it knows of no candidate of perch's but the relay's that perch has allocated.
ONLY_RELAYS = ONLY_ITS_RELAY + """
const Relayed = RTCPeerConnection;
window.RTCPeerConnection = class extends Relayed {
  setRemoteDescription({type, sdp}) {
    const passes = line => !line.startsWith('a=candidate:') || line.includes(' typ relay');
    return super.setRemoteDescription({type, sdp: sdp.split('\\r\\n').filter(passes).join('\\r\\n')});
  }
};
"""
SELECTED_PAIR = """async () => {
  const entries = await window.perch.pc.getStats();
  const transport = [...entries.values()].find(entry => entry.type === 'transport');
  const pair = entries.get(transport.selectedCandidatePairId);
  return [entries.get(pair.localCandidateId).candidateType, entries.get(pair.remoteCandidateId).candidateType];
}"""


@pytest.fixture(scope="module")
def turn():
    with TurnServer() as server:
        yield server


@pytest.fixture
def perch(launch, turn):
    servers = f'[[webrtc.ice_servers]]\nurls = ["{turn.url}"]\nusername = "{USER}"\ncredential = "{PASSWORD}"\n'
    return launch(config=servers)


def test_a_viewer_behind_its_own_relay_sees_the_picture(perch, watch):
    view = watch(perch.url, script=ONLY_ITS_RELAY)
    view.wait_until_live()
    assert view.page.evaluate(SELECTED_PAIR)[0] == "relay"


def test_a_viewer_that_meets_perch_only_between_relays_sees_the_picture(perch, watch):
    view = watch(perch.url, script=ONLY_RELAYS)
    view.wait_until_live()
    assert view.page.evaluate(SELECTED_PAIR) == ["relay", "relay"]


def test_an_ice_server_that_does_not_answer_keeps_no_picture_away(launch, watch):
    # Nobody listens on the discard port.
    servers = '[[webrtc.ice_servers]]\nurls = ["turn:127.0.0.1:9?transport=udp"]\nusername = "a"\ncredential = "b"\n'
    servers += '[[webrtc.ice_servers]]\nurls = ["stun:127.0.0.1:9"]\n'
    view = watch(launch(config=servers).url)
    view.wait_until_live(8)


def test_the_relays_password_is_in_no_log(perch, watch):
    watch(perch.url).wait_until_live()
    assert PASSWORD not in perch.log()
