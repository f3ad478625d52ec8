"""The two pages of the login."""

from django.urls import path
from views import AskCode, AskNumber, welcome

urlpatterns = [
    path("login", AskNumber.as_view(), name="number"),
    path("code", AskCode.as_view(), name="code"),
    path("welcome", welcome, name="welcome"),
]
