"""The JSON of a flow: `{id, name, nodes: [{id, type, config}], edges: [{source, target, …}]}`.

Field names are those of visual editors (`sourcePort`). What an editor keeps for itself, a node's
`label` and `position`, is carried along. Reads and writes; judges nothing but the shape.
"""

from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType, field

from millstream import values
from millstream.errors import InputError, did_you_mean


class FlowNode(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One node. `inputs` and `outputs` name its ports, where its type leaves that to the node."""

    id: str
    type: str
    config: dict[str, Any] = {}
    label: str | UnsetType = UNSET
    position: dict[str, Any] | UnsetType = UNSET
    inputs: tuple[Any, ...] | UnsetType = UNSET
    outputs: tuple[Any, ...] | UnsetType = UNSET


class FlowEdge(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One edge. A port that is not named is the node's only one. `config` is of its channel."""

    source: str
    target: str
    source_port: str | UnsetType = field(name="sourcePort", default=UNSET)
    target_port: str | UnsetType = field(name="targetPort", default=UNSET)
    id: str | UnsetType = UNSET
    config: dict[str, Any] = {}


class Flow(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A whole flow. `live` says which plane its messages pass on: a live one does not end, and
    logs what its nodes publish; another is a pipeline like any, whose every result is logged."""

    id: str
    nodes: tuple[FlowNode, ...]
    edges: tuple[FlowEdge, ...] = ()
    name: str = ""
    live: bool = True

    def node(self, id: str) -> FlowNode | None:
        """The node of that id."""
        return next((node for node in self.nodes if node.id == id), None)

    def with_config(self, node: str, config: dict[str, Any]) -> "Flow":
        """The same flow, with another config for one node."""
        nodes = [
            msgspec.structs.replace(each, config=config) if each.id == node else each
            for each in self.nodes
        ]
        return msgspec.structs.replace(self, nodes=tuple(nodes))


class FlowError(InputError):
    """A flow that cannot be built. `errors` has everything that is wrong with it, each with its
    place in the document (`nodes[2].config.rate`); every message names the node or the edge."""

    code = "flow_invalid"


def read(document: bytes | dict[str, Any]) -> Flow:
    """A flow from its JSON. Raises FlowError for a shape that is not a flow's."""
    try:
        if isinstance(document, dict):
            return msgspec.convert(document, Flow)
        return msgspec.json.decode(document, type=Flow)
    except msgspec.ValidationError as error:
        raise refusal([_explained(fault) for fault in values.field_errors(error)]) from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise FlowError(f"the flow is not JSON: {error}") from error


def write(flow: Flow) -> dict[str, Any]:
    """The JSON object of a flow."""
    return msgspec.to_builtins(flow)


def refusal(faults: list[dict[str, str]]) -> FlowError:
    """One error that tells of all faults."""
    said = "; ".join(f"{f['field'] or 'flow'}: {f['message']}" for f in faults)
    return FlowError(said, errors=faults)


def _explained(fault: dict[str, str]) -> dict[str, str]:
    """An unknown field's message, with the name that was perhaps meant."""
    _, found, name = fault["message"].partition("unknown field `")
    if not found:
        return fault
    kind = FlowNode if "nodes[" in fault["field"] else FlowEdge if fault["field"] else Flow
    near = did_you_mean(name.rstrip("`"), [f.encode_name for f in msgspec.structs.fields(kind)])
    return fault | {"message": fault["message"] + near}
