"""All systems in one application: what `millstream serve` serves when no module is named."""

from millstream import Millstream
from millstream_apps.appraise.system import system as appraise
from millstream_apps.decklists.system import system as decklists
from millstream_apps.extract.system import system as extract
from millstream_apps.nodeflow.system import system as nodeflow

app = Millstream(decklists, extract, nodeflow, appraise)
