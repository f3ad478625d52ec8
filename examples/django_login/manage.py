"""Run the Django example.

    python manage.py runserver

Needs Django and the extra `phone`. The settings are CAMARA_BASE_URL and CAMARA_BEARER_TOKEN.
"""

import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
    execute_from_command_line(sys.argv)
