"""What is wrong with the appliance's settings stands before the page, for those who may see the page."""

import requests
from perch_process import Perch

WORDS = "perch.toml:3: `device.wifi`: <not> a list"


def test_a_notice_stands_before_the_page_but_not_before_the_login(tmp_path):
    notice = tmp_path / "notice"
    notice.write_text(WORDS)
    with Perch("--notice", str(notice)) as perch:
        page = requests.get(perch.url + "/", timeout=5)
        assert page.status_code == 200 and "&lt;not> a list" in page.text
        assert 'id="video"' in requests.get(perch.url + "/?camera", timeout=5).text
    with Perch("--notice", str(notice), config='[http]\nauth = "required"\n') as perch:
        page = requests.get(perch.url + "/", timeout=5, allow_redirects=False)
        assert page.status_code != 200 and "device.wifi" not in page.text


def test_without_a_notice_there_is_the_page(tmp_path):
    (tmp_path / "notice").write_text("\n")
    with Perch("--notice", str(tmp_path / "notice")) as perch:
        assert 'id="video"' in requests.get(perch.url + "/", timeout=5).text
