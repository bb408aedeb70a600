"""Whether a site answers, in a time that nobody minds."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request

from orrery.mnist.download import DownloadError, Network, opener

PROBE_TIMEOUT_S = 5.0


def probe(url: str, network: Network, timeout_s: float = PROBE_TIMEOUT_S) -> None:
    """Ask for the head of a page.

    Args:
        url: Of http or https.
        network: How it is reached.
        timeout_s: Longest silence [s].

    Raises:
        DownloadError: It cannot be had; says why.
    """
    # The catalogue's check lets http and https through only.
    request = urllib.request.Request(url, method="HEAD")  # noqa: S310
    try:
        with opener(network).open(request, timeout=timeout_s):
            pass
    except urllib.error.HTTPError as error:
        error.close()
        raise DownloadError(f"HTTP status {error.code}") from error
    except urllib.error.URLError as error:
        raise DownloadError(str(error.reason)) from error
    except (OSError, http.client.HTTPException) as error:
        raise DownloadError(str(error) or type(error).__name__) from error
