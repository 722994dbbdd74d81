# The guard as a container image, with its policy in /etc/rollguard.
# BASE is any Debian with Python 3.11 and its venv. Pin it by digest where two builds must be the same.
# POLICY is the file of config/ that it obeys.
ARG BASE=python:3.11-slim
ARG POLICY=hotdash-production.yaml

FROM ${BASE} AS build
ARG POLICY
RUN python3 -m venv /pip && python3 -m venv --without-pip /opt/rollguard
COPY requirements.txt /src/
RUN /pip/bin/pip --python /opt/rollguard/bin/python install --no-cache-dir --no-compile --disable-pip-version-check \
        --require-hashes --only-binary :all: -r /src/requirements.txt
# Copied as it is: building a wheel first would need a build backend, and that one without a hash.
COPY daemon/rollguard /src/rollguard
COPY LICENSE /opt/rollguard/
COPY config/${POLICY} /etc/rollguard/
# Modes do not follow from the umask of whoever builds; byte code is made here, because the root is read-only later.
RUN cp -r /src/rollguard "$(/opt/rollguard/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
    && printf '%s\n' '#!/opt/rollguard/bin/python' 'import sys' \
        'from rollguard.cli.main import main' 'sys.exit(main())' > /opt/rollguard/bin/rollguard \
    && chmod -R a+rX,go-w /opt/rollguard /etc/rollguard && chmod 0755 /opt/rollguard/bin/rollguard \
    && /opt/rollguard/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/rollguard

# What a process could install, compile or gain rights with is taken out of the root file system.
FROM ${BASE} AS root
RUN lib="$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
    && rm -rf "$lib/ensurepip" "$lib/idlelib" "$lib/lib2to3" /usr/share/python-wheels /usr/local/include \
        "$lib"/site-packages/pip* "$lib"/site-packages/setuptools* "$lib"/site-packages/wheel* \
        "$lib"/site-packages/pkg_resources "$lib"/site-packages/_distutils_hack \
        /usr/local/bin/pip* /usr/local/bin/wheel /usr/local/bin/idle* /usr/local/bin/2to3* \
        /var/cache/apt/* /var/cache/debconf/* /var/lib/apt/lists/* /var/log/*.log /var/log/apt \
    && groupadd --gid 10001 rollguard \
    && useradd --uid 10001 --gid 10001 --no-log-init --no-create-home --home-dir /data \
        --shell /usr/sbin/nologin rollguard \
    && install -d -o 10001 -g 10001 -m 0700 /data \
    && ln -s /opt/rollguard/bin/rollguard /usr/local/bin/rollguard \
    && find / -xdev -type f -perm /6000 -exec chmod a-s {} +

# From nothing, so that no layer below still holds what was taken out.
FROM scratch
COPY --from=root / /
COPY --from=build /opt/rollguard /opt/rollguard
COPY --from=build /etc/rollguard /etc/rollguard
LABEL org.opencontainers.image.title="rollguard" org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1
# The one place that is written to; a folder below the mount, so that the guard makes it, 0700 and its own.
# SQLite looks for a place for temporary files, and no other one can be written to.
ENV ROLLGUARD_DATA=/data/rollguard SQLITE_TMPDIR=/data
WORKDIR /data
USER 10001:10001
EXPOSE 9464
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
    CMD ["/opt/rollguard/bin/python", "-c", \
         "import urllib.request as u; u.urlopen('http://127.0.0.1:9464/-/healthy', timeout=4)"]
ENTRYPOINT ["/usr/local/bin/rollguard"]
# Metrics and health on every IPv4 address of the container, so that checks and scrapes reach them. Nothing acts
# there but signed reports, and those only where the policy says so.
CMD ["run", "--config", "/etc/rollguard", "--listen", "0.0.0.0:9464"]
