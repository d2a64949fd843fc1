# A server in a container: both wheels, an unprivileged user, tokens and TLS on.
#
#   docker build -t orcs .
#   docker run -p 50750:50750 -v orcs:/data \
#     -v ./token:/run/secrets/orcs_token:ro \
#     -v ./server.pem:/run/secrets/orcs_tls_certificate:ro -v ./server.key:/run/secrets/orcs_tls_key:ro \
#     -e OPENAI_API_KEY orcs
#
# The token (`openssl rand -hex 32 > token`) and the certificate's key must be readable for the user 10001. The certificate must
# also be valid for `localhost`, under which the health check and `docker exec … orcs list` reach the server.

FROM python:3.11-slim AS build
WORKDIR /src
COPY constraints.txt pyproject.toml LICENSE README.md ./
COPY orcs_client ./orcs_client
COPY orcs_server ./orcs_server
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels ./orcs_client .
RUN python -m venv /opt/orcs
RUN /opt/orcs/bin/python -m pip install --no-cache-dir --constraint constraints.txt /wheels/*.whl

FROM python:3.11-slim
RUN useradd --system --uid 10001 --create-home orcs && install --directory --owner orcs --mode 0700 /data
COPY --from=build /opt/orcs /opt/orcs
ENV PATH=/opt/orcs/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    ORCS_LISTEN=0.0.0.0:50750 \
    ORCS_DATA=/data/orcs.db \
    ORCS_LOG_FORMAT=json \
    ORCS_TOKEN_FILE=/run/secrets/orcs_token \
    ORCS_TLS_CERTIFICATE=/run/secrets/orcs_tls_certificate \
    ORCS_TLS_KEY=/run/secrets/orcs_tls_key \
    ORCS_SERVER=https://localhost:50750 \
    ORCS_TLS_ROOT_CERTIFICATES=/run/secrets/orcs_tls_certificate
VOLUME /data
EXPOSE 50750
USER orcs
WORKDIR /home/orcs
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=8s --start-period=20s --retries=3 CMD ["orcs", "health"]
ENTRYPOINT ["orcs"]
CMD ["serve"]
