"""Why a document can't be read, each as one sentence that names the cure."""

from pipelines.parsed import UnreadableSource


class ProtectedSource(UnreadableSource):
    """This file is protected by a password; remove the password and upload it again."""


class UnknownFormat(UnreadableSource):
    """This file has a format that can't be read; save it as PDF, DOCX, HTML or plain text and upload it again."""


class DamagedSource(UnreadableSource):
    """This file is damaged or incomplete; open it in its own program, save it anew and upload it again."""


class TooLargeSource(UnreadableSource):
    """This file is larger than can be read; split it into smaller files and upload them."""
