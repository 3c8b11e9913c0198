"""The document says what the routes do."""

import json
import re

from gateway.api.openapi import document
from tests.api.calls import ApiTestCase


def references(value):
    """Return every `$ref` in a document."""
    if isinstance(value, dict):
        found = [value["$ref"]] if "$ref" in value else []
        return found + [ref for part in value.values() for ref in references(part)]
    if isinstance(value, list):
        return [ref for part in value for ref in references(part)]
    return []


def path_of(path):
    """Return a path with something in the place of its names."""
    return re.sub(r"\{(\w+)\}", "10001", path)


class OpenApiTests(ApiTestCase):
    """`/api/openapi.json`."""

    def setUp(self):
        super().setUp()
        self.document = self.get("/api/openapi.json").json

    def test_it_is_served_as_it_is_made(self):
        self.assertEqual(self.document, json.loads(json.dumps(document())))
        self.assertEqual(self.document["openapi"], "3.1.0")

    def test_every_reference_leads_somewhere(self):
        schemas = self.document["components"]["schemas"]
        found = references(self.document)
        self.assertTrue(found)
        for reference in found:
            self.assertIn(reference.removeprefix("#/components/schemas/"), schemas)

    def test_every_path_is_a_route_with_that_method(self):
        for path, operations in self.document["paths"].items():
            for method in operations:
                asked = path_of(path)
                if path == "/api/events":
                    asked += "?topics=none"  # else it has no end
                answer = self.call(method.upper(), asked, accept="application/json")
                said = operations[method]["responses"]
                self.assertIn(str(answer.code), said, path)
            wrong = self.call("PUT", path_of(path))
            self.assertEqual(wrong.code, 405)

    def test_both_spellings_are_there_and_one_of_them_is_meant(self):
        body = self.document["components"]["schemas"]["CreateBody"]
        self.assertLessEqual(
            {"port", "source_port", "target_ip", "target_host"}, set(body["properties"])
        )
        self.assertEqual(
            body["allOf"],
            [
                {"oneOf": [{"required": ["port"]}, {"required": ["source_port"]}]},
                {"not": {"required": ["target_host", "target_ip"]}},
            ],
        )
        self.assertIs(body["additionalProperties"], False)
        self.assertEqual(body["properties"]["port"]["maximum"], 65535)

    def test_every_key_has_a_description(self):
        schemas = self.document["components"]["schemas"]
        for name in ("CreateBody", "RemoveBody", "UpdateBody"):
            for key, schema in schemas[name]["properties"].items():
                self.assertIn("description", schema, (name, key))

    def test_refusals_are_described(self):
        codes = self.document["paths"]["/api/mapping/create"]["post"]["responses"]
        expected = {
            "200",
            "400",
            "401",
            "403",
            "408",
            "409",
            "413",
            "415",
            "429",
            "500",
            "503",
        }
        self.assertEqual(set(codes), expected)

    def test_only_health_is_open(self):
        self.assertEqual(self.document["security"], [{"ApiKey": []}, {"Token": []}])
        scheme = self.document["components"]["securitySchemes"]["ApiKey"]
        self.assertEqual(
            scheme, {"type": "apiKey", "in": "header", "name": "X-API-Key"}
        )
        opened = {
            path
            for path, operations in self.document["paths"].items()
            for operation in operations.values()
            if operation.get("security") == []
        }
        self.assertEqual(opened, {"/health", "/livez", "/readyz"})

    def test_an_answer_has_the_keys_of_its_schema(self):
        self.post("/api/mapping/create", {"port": 10001})
        row = self.get("/api/mapping/10001").json["data"]
        schema = self.document["components"]["schemas"]["MappingRow"]
        self.assertEqual(list(row), list(schema["properties"]))
