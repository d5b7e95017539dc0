"""Secrets in addresses: not shown, refused where they would be copied, read from the environment."""

import pytest

from darkroom.core.errors import UserError
from darkroom.core.secrets import redact, revealed, without_secrets
from darkroom.download.params import Params
from darkroom.pipeline import params

SHOWN = [
    ("http://ada:geheim@host:5000/sub", "http://host:5000/sub"),
    ("http://ada:ge@heim/geheim@host", "http://host"),
    ("https://geheim@host/x", "https://host/x"),
    ("postgresql://ada:geheim@host/db", "postgresql://host/db"),
    (
        "postgresql://host/db?user=ada&password=geheim&sslmode=require",
        "postgresql://host/db?user=ada&password=&sslmode=require",
    ),
    ("sqlite:////home/ada/mlflow.db", "sqlite:////home/ada/mlflow.db"),
    ("API request to http://ada:geheim@host/api failed", "API request to http://host/api failed"),
    ("https://host/x?X-Amz-Signature=geheim&part=1", "https://host/x?X-Amz-Signature=&part=1"),
    ("https://host/x?sv=1&sig=geh%2Beim%3D", "https://host/x?sv=1&sig="),
    ("'https://host/x?access_token=geheim' is refused", "'https://host/x?access_token=' is refused"),
]
PLAIN = ["https://host:8080/x.zip", "https://cdn/icons@2x.zip", "https://host/x?alt=media&keyword=cat&page=2"]


@pytest.mark.parametrize(("text", "shown"), SHOWN)
def test_secrets_are_not_shown(text, shown):
    assert redact(text) == shown


@pytest.mark.parametrize("address", PLAIN)
def test_an_address_without_secrets_is_shown_as_it_is(address):
    assert redact(address) == without_secrets(address) == address


@pytest.mark.parametrize(
    "address",
    ["https://ada:geheim@host/x", "https://geheim@host/x", "https://host/x?token=geheim", "https://h/x?a=1&Sig=geheim",
     "https://host/x?X-Amz-Credential=geheim", "https://ada:$A@host/x?key=geheim", "https://host/x?token=$A-geheim"],
)  # fmt: skip
def test_a_secret_in_an_address_is_refused_without_repeating_it(address):
    with pytest.raises(UserError, match=r"^params.yaml: download\.url is .*environment variable") as caught:
        params.check({"download": {"url": address}})
    assert "geheim" not in str(caught.value)


def test_an_environment_variable_stands_for_a_secret(monkeypatch):
    address = "https://ada:$PASSWORD@host/x?token=${TOKEN}&page=1"
    assert Params(url=address).url == address
    monkeypatch.setenv("PASSWORD", "geheim")
    with pytest.raises(UserError, match="environment variable TOKEN, which is not set"):
        revealed(address)
    monkeypatch.setenv("TOKEN", "g2")
    assert revealed(address) == "https://ada:geheim@host/x?token=g2&page=1"
