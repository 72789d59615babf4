"""The system as the application serves it: the pipeline `flow`, its routes, its page."""

import time
from pathlib import Path

from fastapi import APIRouter

from millstream import Millstream, NodeTypes, Outgoing, Retain, System
from millstream_apps.nodeflow.flows import Flows, flow_pipeline
from millstream_apps.nodeflow.nodes.base import Tools
from millstream_apps.nodeflow.nodes.library import library
from millstream_apps.nodeflow.routes import routes as flow_routes
from millstream_apps.nodeflow.settings import NodeflowSettings, settings

STATIC = Path(__file__).with_name("static")


class Nodeflow:
    """The system and its node types. `types` may be exchanged (types added) at any time: flows
    that are started from then on can use them."""

    def __init__(self, chosen: NodeflowSettings, types: NodeTypes | None = None) -> None:
        self.outgoing = Outgoing(allow=chosen.allow)
        self.types = types or library(Tools(time.time, self.outgoing, chosen.files))
        self._keep = Retain(events=chosen.keep_events, seconds=chosen.keep_seconds)
        self.pipeline = flow_pipeline(lambda: self.types, self._keep)
        self.system = System(
            name="nodeflow",
            pipelines=(self.pipeline,),
            routes=self._routes,
            settings={"host": chosen.host, "port": chosen.port},
            assets={path.name: path for path in STATIC.iterdir()},
            close=self.outgoing.aclose,
        )

    def flows(self, app: Millstream) -> Flows:
        """The flows of an application that serves this system."""
        return Flows(app, lambda: self.types, self._keep)

    def _routes(self, app: Millstream) -> APIRouter:
        return flow_routes(app, self.flows(app))


system = Nodeflow(settings()).system
