"""`serve` asked whatever its own OpenAPI document allows: no status, type or shape that the document does not have."""

import pytest
from hypothesis import HealthCheck, given, settings
from servers import Running, running

from wmt_transformer.serve.service import Limits
from wmt_transformer.serve.specification import document

schemathesis = pytest.importorskip("schemathesis", reason="the extra `interop` brings it")
from schemathesis.checks import not_a_server_error  # noqa: E402
from schemathesis.specs.openapi.checks import (  # noqa: E402
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

pytestmark = pytest.mark.interop
OPERATIONS = [found.ok() for found in schemathesis.openapi.from_dict(document()).get_all_operations()]
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def server():
    with running(Limits(characters=50, texts=4)) as found:
        yield found


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.label)
def test_every_answer_is_one_that_the_document_has(server: Running, operation):
    @settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
    @given(case=operation.as_strategy())
    def ask(case) -> None:
        case.call_and_validate(base_url=server.url, checks=CHECKS)

    ask()
