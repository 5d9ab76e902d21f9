"""Where the database is: the one the settings name, or the embedded one, started on first use."""

from sqlalchemy.engine import URL

from core.settings import Settings, ensure_home
from db.embedded import start_embedded
from db.provision import APP, provision, to_driver_url


def owner_url(settings: Settings) -> URL:
    """Return the URL migrations run as, with database, roles and extension in place."""
    named = settings.db.owner_url or settings.db.url
    if named is not None:
        url = named.get_secret_value()
        return provision(url, to_driver_url(url).database or settings.db.name)
    ensure_home(settings)
    return provision(start_embedded(settings.postgres_folder), settings.db.name)


def app_url(settings: Settings) -> str:
    """Return the URL the product signs in with."""
    if settings.db.url is not None:
        return settings.db.url.get_secret_value()
    ensure_home(settings)
    url = to_driver_url(start_embedded(settings.postgres_folder))
    return url.set(database=settings.db.name, username=APP).render_as_string(hide_password=False)
