# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A mail server with TLS and a login, and the mail that it got."""

from __future__ import annotations

import email
import email.policy
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from broker_servers import Certificates

from muejam_bed.ports import free_port


@dataclass
class Mail:
    """One that came.

    :ivar login: user and password of whoever sent it.
    """

    to: list[str]
    message: EmailMessage
    login: tuple[str, str]

    @property
    def text(self) -> str:
        """All of its parts, decoded."""
        parts = [part for part in self.message.walk() if not part.is_multipart()]
        return "\n".join(part.get_content() for part in parts)


@dataclass
class Post:
    """What came. Who does not log in by TLS is refused."""

    port: int
    mail: list[Mail] = field(default_factory=list)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Keep a mail."""
        message = email.message_from_bytes(envelope.content or b"", policy=email.policy.default)
        self.mail.append(Mail(list(envelope.rcpt_tos), message, session.auth_data))
        return "250 OK"


def _take(server: SMTP, session: Session, envelope: Envelope, mechanism: str, given: object) -> AuthResult:
    assert isinstance(given, LoginPassword)
    return AuthResult(success=True, auth_data=(given.login.decode(), given.password.decode()))


@contextmanager
def mail_server(tls: Certificates) -> Iterator[Post]:
    """Listen at all addresses of this machine."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tls.certificate, tls.key)
    post = Post(free_port())
    controller = Controller(
        post,
        hostname="0.0.0.0",
        port=post.port,
        tls_context=context,
        require_starttls=True,
        auth_required=True,
        authenticator=_take,
        # Its words for LOGIN are not those that Alertmanager waits for.
        auth_exclude_mechanism=["LOGIN"],
    )
    controller.start()
    try:
        yield post
    finally:
        controller.stop()
