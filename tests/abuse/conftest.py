import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), *(str(HERE.parent / folder) for folder in ("browser", "contract", "."))]

from fixtures import browser  # noqa: E402, F401
