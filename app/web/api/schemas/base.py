"""Base classes of the JSON of the API: camelCase on the wire, a sentence for each field in the OpenAPI document."""

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Body(BaseModel):
    """What a program sends."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, use_attribute_docstrings=True)


class Answer(BaseModel):
    """What a program gets."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, use_attribute_docstrings=True, serialize_by_alias=True
    )


class PageAnswer(Answer):
    """A page of a list, which has its `items`."""

    next_cursor: str | None
    """Send it as `cursor` for the next page; null on the last one."""
