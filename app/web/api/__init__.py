"""The API for programs: routes, schemas and the OpenAPI document."""
