"""A spider of one page, whose body goes to standard output."""

import sys

import scrapy


class Page(scrapy.Spider):
    name = "page"

    def __init__(self, url, **words):
        super().__init__(**words)
        self.start_urls = [url]

    def parse(self, response):
        sys.stdout.buffer.write(response.body)
        sys.stdout.buffer.flush()
