"""Train GANs in balance: the EnhanceNet family, with diagnosis and control of D against G."""
