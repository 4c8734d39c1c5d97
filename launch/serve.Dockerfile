# A translation server on a CPU. From the root of the checkout, with a trained run in runs/quickstart:
#   docker build -f launch/serve.Dockerfile -t wmt-transformer-serve .
#   docker compose -f launch/serve.compose.yaml up
FROM python:3.12-slim
WORKDIR /app
COPY pyproject.toml README.md LICENSE ./
COPY wmt_transformer wmt_transformer
COPY configs configs
COPY reports reports
RUN pip install --no-cache-dir ".[serve]"
# Compiled programs; a volume keeps them from one start to the next.
ENV WMT_TRANSFORMER_CACHE=/cache
RUN install -d -o nobody -g nogroup /cache
VOLUME /cache
USER nobody
EXPOSE 5000
STOPSIGNAL SIGTERM
ENTRYPOINT ["wmt-transformer", "serve", "--host", "0.0.0.0", "--workdir"]
CMD ["/model"]
