"""Outgoing: how a request to the outside fails. Step errors, so that a step may let them pass.

Codes are stable. Each message names the host that was asked for and says why; none repeats what
the other side sent.
"""

from millstream.errors import StepError


class OutgoingError(StepError):
    """The request was sent, or tried, and did not succeed.

    Codes: `name_unresolved`, `connect_failed`, `tls_failed`, `connection_broken`,
    `redirect_invalid`, `redirect_loop`, `too_many_redirects`, `encoding_unknown`,
    `body_undecodable`; those of the subclasses beside them.
    """

    code = "connection_broken"


class OutgoingRefused(OutgoingError):
    """We do not go there: nothing of the request was sent.

    Codes: `url_invalid`, `scheme_refused`, `userinfo_refused`, `port_refused`, `address_refused`.
    """

    code = "address_refused"
    retryable = False


class OutgoingTimeout(OutgoingError):
    """The other side took longer than the limits allow: to connect, to answer, or in all."""

    code = "outgoing_timeout"


class OutgoingTooLarge(OutgoingError):
    """The body, unpacked, is larger than the limits allow."""

    code = "body_too_large"
    retryable = False
