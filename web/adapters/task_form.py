"""Another API's fields as the options of one of our tasks; what is wrong with them is said by that API's names."""

from __future__ import annotations

from collections.abc import Mapping

from errors import InvalidOptionError
from optimizer.intake.task_form import TaskForm, read_task_form
from web.http.context import current_system


def task_form(options: Mapping[str, str], their_names: Mapping[str, str]) -> TaskForm:
    """options: texts by our names, as `POST /api/tasks` takes them. their_names: by ours, where they differ.

    Raises InvalidOptionError or UnknownModelError.
    """
    system = current_system()
    models, default_model = system.admission.models, system.default_model()
    try:
        return read_task_form(options.items(), system.settings, system.device_names(), models, default_model)
    except InvalidOptionError as error:
        field = their_names.get(error.field or "", error.field)
        raise type(error)(error.message, field=field) from None
