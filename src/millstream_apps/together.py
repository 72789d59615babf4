"""All systems in one application: what `millstream serve` serves when no module is named."""

from millstream import Millstream
from millstream_apps.decklists.system import system as decklists

app = Millstream(decklists)
