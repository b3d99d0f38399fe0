"""Credentials in URLs: refused in configuration, redacted in logs and error messages.

URLs are written to logs, manifests, tags, rows and MLflow, so they must not hold secrets: these
belong in the clients' own variables (AWS_SHARED_CREDENTIALS_FILE, PGPASSWORD,
MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, OPENAI_API_KEY, a netrc file).
"""

import re

REDACTED = "***"

_USERINFO = re.compile(r"\b([A-Za-z][A-Za-z0-9+.-]*)://([^/\s@?#'\"]+)@")
_QUERY = re.compile(
    r"([?&;#](?:x-(?:amz|goog)-(?:signature|credential|security-token)|awsaccesskeyid|signature|sig"
    r"|(?:access|auth|id|refresh|private|api|secret|client)?[_-]?(?:token|key|secret)|auth"
    r"|authorization|password|passwd|pwd|credentials?)=)[^&\s#'\")>\]]+",
    re.IGNORECASE,
)
# A user name without password is no secret for databases and SSH; in an HTTP URL it may be a token.
_USER_NAMES_ALONE = re.compile(r"(?i)(?:ssh|git\+ssh|postgres|mysql|mssql|oracle|mariadb)")


def redact_urls(text: str) -> str:
    """Replace each URL's password, user token or signed query value by `***`."""
    return _QUERY.sub(rf"\1{REDACTED}", _USERINFO.sub(_without_userinfo, text))


def refuse_credentials(url: str, name: str) -> str:
    """Return the URL unchanged; ValueError if it holds credentials, with the setting's `name`."""
    redacted = redact_urls(url)
    if redacted != url:
        raise ValueError(
            f"{name} is {redacted}: a URL must hold no credentials, since logs and rows show it; "
            "state them by the client's own variables or files (AWS_SHARED_CREDENTIALS_FILE, "
            "PGPASSWORD, MLFLOW_TRACKING_PASSWORD, OPENAI_API_KEY)"
        )
    return url


def _without_userinfo(match: re.Match[str]) -> str:
    scheme, userinfo = match[1], match[2]
    user, _, password = userinfo.partition(":")
    if not password and _USER_NAMES_ALONE.match(scheme):
        return match[0]
    redacted = f"{user}:{REDACTED}" if password else REDACTED
    return f"{scheme}://{redacted}@"
