"""The pages of the login."""

from django.urls import path
from views import AskCode, AskNumber, leave, welcome

urlpatterns = [
    path("login", AskNumber.as_view(), name="number"),
    path("code", AskCode.as_view(), name="code"),
    path("welcome", welcome, name="welcome"),
    path("logout", leave, name="logout"),
]
