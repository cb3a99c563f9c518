#!/bin/sh
# Some tests start a PostgreSQL server of their own. Install Debian's where that can be done without asking; otherwise
# say what to do.
set -eu
if command -v postgres >/dev/null 2>&1 || ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1; then
    exit 0
fi
if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    echo "Installing PostgreSQL for the tests"
    # Without this, the package makes a server of its own and starts it.
    settings=/etc/postgresql-common/createcluster.conf
    if [ ! -e "$settings" ]; then
        mkdir -p /etc/postgresql-common
        echo "create_main_cluster = false" >"$settings"
    fi
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql >/dev/null
else
    echo "No PostgreSQL here: its tests will be skipped. Install it with your package manager to run them."
fi
