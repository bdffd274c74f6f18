"""A Twilio-compatible server for tests, the demo, benchmarks and everyone who wants to see what Ringback would send.

It speaks the part of Twilio's REST API that Ringback uses (messages: create, list, fetch; calls: list, fetch; recordings and
transcriptions: list) to the official SDK, posts signed status callbacks and incoming texts as Twilio does, fails on demand in
the ways that matter (429, 5xx, hang, lost answer, slow answer), simulates borrowers, and shows every text on a page.

Nothing here leaves the machine: no text is ever sent to anyone. Every date in an answer is virtual time (the
clock of `services.runtime.clock`); waits between machines, callbacks among them, are real time.
"""

from deploy.sandbox.server import Sandbox
from deploy.sandbox.settings import CallbackFaults, SandboxSettings, Shares

__all__ = ["CallbackFaults", "Sandbox", "SandboxSettings", "Shares"]
